"""Stream cursors: exact across processes, reconnects and transactions that commit out of order.

A stream is ordered by (txid, seq), and a row is shown only once every transaction that began before it has ended:
so nothing can turn up behind a cursor. A cursor that begins at "now" also carries the snapshot in which "now" was
read, because a transaction younger than another may have been seen in it already.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from hogsend.errors import InvalidInput

_POSITION = re.compile(r"(\d{1,20})\.(\d{1,19})(?:~(\d{1,20}:\d{1,20}:[\d,]{0,4000}))?")


@dataclass(frozen=True)
class StreamCursor:
    """Rows behind (txid, seq), without those that `snapshot` (a `pg_snapshot` in text) already showed."""

    txid: int
    seq: int
    snapshot: str | None = None

    @classmethod
    def of_snapshot(cls, snapshot: str) -> StreamCursor:
        """Behind everything that a statement with this `pg_current_snapshot()` could see."""
        return cls(int(snapshot.split(":")[0]), 0, snapshot)

    def at(self, txid: int, seq: int) -> StreamCursor:
        """The cursor of a row; it keeps the snapshot for as long as that can matter."""
        if self.snapshot is not None and txid < int(self.snapshot.split(":")[1]):
            return StreamCursor(txid, seq, self.snapshot)
        return StreamCursor(txid, seq)

    def encode(self) -> str:
        tail = f"~{self.snapshot}" if self.snapshot else ""
        return base64.urlsafe_b64encode(f"{self.txid}.{self.seq}{tail}".encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> StreamCursor:
        """Raises `InvalidInput` for what `encode` never made."""
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        except (binascii.Error, ValueError):
            plain = ""
        match = _POSITION.fullmatch(plain)
        if match is None:
            raise InvalidInput(
                "after", "after must be a cursor that this stream gave out", code="INVALID_CURSOR"
            )
        return cls(int(match[1]), int(match[2]), match[3])
