"""Bounds on JSON before it is parsed: how many values a body may hold, counted on its bytes.

Parsing and walking a million small values takes seconds in which a process answers nobody. Strings are passed over
as a whole, however long they are, so that a file may travel in one.
"""

from __future__ import annotations

import asyncio

MOST_VALUES = 50_000
# So many strings or quotes, and others have their turn.
_AT_ONCE = 5_000
_COUNTED_AT_ONCE = 1_000_000


class TooManyValues(ValueError):
    """The body holds more values than `most`; nothing of it was parsed."""

    def __init__(self, most: int) -> None:
        super().__init__(f"JSON may hold at most {most:,} values")
        self.most = most


async def check_values(body: bytes, most: int = MOST_VALUES) -> None:
    """Raise `TooManyValues`. Well-formed or not: what is no JSON is found out by who parses it."""
    # Most bodies cannot hold as many: each value but the first needs a comma, a bracket or a brace.
    if await _structure(body, 0, len(body), most) < most:
        return
    values = position = quotes = 0
    while True:
        begin = body.find(b'"', position)
        values += await _structure(body, position, len(body) if begin < 0 else begin, most)
        if values > most:
            raise TooManyValues(most)
        if begin < 0:
            return
        end = body.find(b'"', begin + 1)
        while end >= 0 and _escaped(body, end):
            end = body.find(b'"', end + 1)
            quotes += 1
            if quotes % _AT_ONCE == 0:
                await asyncio.sleep(0)
        if end < 0:
            return
        values, position, quotes = values + 1, end + 1, quotes + 1
        if quotes % _AT_ONCE == 0:
            await asyncio.sleep(0)


async def _structure(body: bytes, begin: int, end: int, most: int) -> int:
    """Commas, brackets and braces; it stops counting where there are more than `most`."""
    found = 0
    while begin < end and found <= most:
        stop = min(end, begin + _COUNTED_AT_ONCE)
        found += body.count(b",", begin, stop) + body.count(b"[", begin, stop) + body.count(b"{", begin, stop)
        if stop < end:
            await asyncio.sleep(0)
        begin = stop
    return found


def _escaped(body: bytes, quote: int) -> bool:
    """Whether an odd number of backslashes stands before the quote."""
    slashes, end = 0, quote
    while end > 0:
        window = body[max(0, end - 256) : end]
        trailing = len(window) - len(window.rstrip(b"\\"))
        slashes += trailing
        if trailing < len(window):
            break
        end -= len(window)
    return slashes % 2 == 1
