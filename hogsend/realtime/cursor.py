"""Stream cursors: exact across processes, reconnects and transactions that commit out of order.

A cursor is a position in the order of streams. One that begins at "now" also carries the snapshot in which "now" was
read: what that showed and was numbered only later is not told again.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property

from hogsend.errors import InvalidInput

_CURSOR = re.compile(r"s(\d{1,18})(?:~(\d{1,19}:\d{1,19}:[\d,]{0,8000}))?")
_OF_BEFORE = re.compile(r"\d{1,20}\.\d{1,19}(~.*)?")
_MADE_UP = "after must be a cursor that this stream gave out"
_OLD = "after is a cursor of an earlier version of Hogsend: read the lists anew, and follow without it"


@dataclass(frozen=True)
class Snapshot:
    """Which transactions a statement could see, as Postgres' `pg_snapshot`: those before `xmax` but the open ones."""

    xmax: int
    open: frozenset[int]
    text: str

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """From the text of a `pg_snapshot`. Raises `ValueError` for what is none."""
        _, xmax, open_ones = text.split(":")
        return cls(int(xmax), frozenset(int(each) for each in open_ones.split(",") if each), text)

    def shows(self, txid: int) -> bool:
        """Whether what this transaction committed was visible."""
        return txid < self.xmax and txid not in self.open

    def is_covered_by(self, later: Snapshot) -> bool:
        """Whether `later` certainly shows all that this one does."""
        return later.xmax > self.xmax or later == self

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class StreamCursor:
    """Rows behind position `pos`, without those that `shown` (a `pg_snapshot` in text) already showed."""

    pos: int
    shown: str | None = None

    @classmethod
    def of_head(cls, head: str) -> StreamCursor:
        """Behind everything that the statement showed which selected `head_of_statement()`."""
        pos, _, shown = head.partition("~")
        return cls(int(pos), shown)

    @cached_property
    def snapshot(self) -> Snapshot | None:
        return None if self.shown is None else Snapshot.parse(self.shown)

    def encode(self) -> str:
        tail = f"~{self.shown}" if self.shown else ""
        return base64.urlsafe_b64encode(f"s{self.pos}{tail}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> StreamCursor:
        """Raises `InvalidInput` for what `encode` never made, and for what an earlier version made."""
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        except (binascii.Error, ValueError):
            plain = ""
        match = _CURSOR.fullmatch(plain)
        if match is None:
            message = _OLD if _OF_BEFORE.fullmatch(plain) else _MADE_UP
            raise InvalidInput("after", message, code="INVALID_CURSOR")
        return cls(int(match[1]), match[2])
