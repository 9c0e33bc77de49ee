"""Contact import, reading: an uploaded CSV or JSON file, cut into pieces that one transaction each takes in.

A row is `[externalId, email, properties]`, or a sentence that says what is wrong with it. Of values, nothing but
doubled ids is looked at: a file that can be read at all is taken, and each row is judged when its turn comes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from hogsend.errors import InvalidInput

Format = Literal["csv", "json"]
ImportRow = list[Any] | str

ROWS_A_PIECE = 500
BYTES_A_PIECE = 4_000_000
DUPLICATE = "Duplicate externalId"
_DELIMITERS = ",;\t"
_KEYS = {"externalid": "externalId", "email": "email"}

MOST_ROWS = 500_000
MOST_COLUMNS = 1_000
LONGEST_ROW = 1_000_000
"""Characters of a row, and of a cell. What parses one lets no other thread run meanwhile."""
_WINDOW = 2 * LONGEST_ROW
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_TOO_LONG = f"Row has more than {LONGEST_ROW:,} characters"

# The module's own limit is 128 KiB a cell.
csv.field_size_limit(LONGEST_ROW)


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, as JSON. `first_row` counts from 1, without the header."""

    first_row: int
    rows: bytes


def cut(format: Format, data: str) -> tuple[int, list[Piece]]:
    """How many rows there are, and the pieces. Raises `InvalidInput` where the header or the JSON is unusable, and
    where there are more than `MOST_ROWS`.

    Takes seconds for a large file, and holds no lock on anything: call it in a thread.
    """
    try:
        data.encode()
    except UnicodeEncodeError:
        raise InvalidInput("data", "data contains unpaired surrogate characters") from None
    data = data.removeprefix("\ufeff")
    rows = _marked(csv_rows(data) if format == "csv" else json_rows(data))
    total = 0
    pieces: list[Piece] = []
    held: list[bytes] = []
    size = 0
    for row in rows:
        encoded = orjson.dumps(row)
        held.append(encoded)
        size += len(encoded)
        total += 1
        if total > MOST_ROWS:
            raise InvalidInput("data", f"data must have at most {MOST_ROWS:,} rows: import it in parts")
        if len(held) == ROWS_A_PIECE or size > BYTES_A_PIECE:
            pieces.append(_piece(total, held))
            held, size = [], 0
    if held:
        pieces.append(_piece(total, held))
    return total, pieces


def _marked(rows: Iterator[ImportRow]) -> Iterator[ImportRow]:
    """The rows, with those whose externalId an earlier one had refused."""
    seen: set[str] = set()
    for row in rows:
        external_id = None if isinstance(row, str) else row[0]
        if isinstance(external_id, str) and external_id:
            if external_id in seen:
                yield DUPLICATE
                continue
            seen.add(external_id)
        yield row


def _piece(total: int, held: Sequence[bytes]) -> Piece:
    return Piece(total - len(held) + 1, b"[" + b",".join(held) + b"]")


def csv_rows(data: str) -> Iterator[ImportRow]:
    """Rows of a CSV file: commas, semicolons or tabs, quotes, any line ends. Blank lines are no rows.

    An empty cell says nothing about its property.
    """
    first_line = data.lstrip("\r\n").partition("\n")[0]
    counts = {delimiter: first_line.count(delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda one: counts[one])
    reader = csv.reader(_Lines(data), delimiter=delimiter, strict=True)
    header = _header(reader)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _csv_problem(str(error))
            continue
        if cells:
            yield _csv_row(header, cells)


class _Lines:
    """The lines of a file; a `csv.Error` in the place of one that is too long, after which the next one comes."""

    def __init__(self, data: str) -> None:
        self._lines = io.StringIO(data, newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if len(line) > LONGEST_ROW:
            raise csv.Error(_TOO_LONG)
        return line


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        cells = next((cells for cells in reader if cells), None)
    except csv.Error as error:
        raise InvalidInput(
            "data", f"data has a header that cannot be read: {_csv_problem(str(error))}"
        ) from None
    if cells is None:
        raise InvalidInput(
            "data", "data must begin with a header that names its columns, externalId among them"
        )
    if len(cells) > MOST_COLUMNS:
        raise InvalidInput("data", f"data must have at most {MOST_COLUMNS:,} columns")
    names = [_KEYS.get(cell.strip().lower(), cell.strip()) for cell in cells]
    for position, name in enumerate(names, 1):
        if not name:
            raise InvalidInput("data", f"data has no name for column {position} in its header")
        if names.index(name) != position - 1:
            raise InvalidInput("data", f"data has two columns named {name[:100]}")
    if "externalId" not in names:
        raise InvalidInput("data", "data must have a column externalId in its header")
    return names


def _csv_problem(message: str) -> str:
    if "unexpected end" in message:
        return "A quote is opened and never closed"
    if "expected after" in message:
        return "Text stands behind a closing quote"
    if "field limit" in message or message == _TOO_LONG:
        return _TOO_LONG
    return f"Malformed CSV: {message}"


def _csv_row(header: Sequence[str], cells: Sequence[str]) -> ImportRow:
    if len(cells) != len(header):
        return f"Row has {len(cells)} cells where the header has {len(header)}"
    values = dict(zip(header, cells, strict=True))
    external_id = values.pop("externalId").strip()
    email = values.pop("email", "").strip()
    return [external_id or None, email or None, {name: cell for name, cell in values.items() if cell}]


def json_rows(data: str) -> Iterator[ImportRow]:
    """Rows of a JSON array of `{externalId, email?, properties?}`; other members are not looked at."""
    return map(_json_row, _items(data))


def _items(data: str) -> Iterator[object]:
    """The values of a JSON array, each parsed when its turn comes. Raises `InvalidInput` where it is none."""
    begin = _after_space(data, 0)
    if not data.startswith("[", begin):
        raise InvalidInput("data", "data must be a JSON array of contacts")
    at = begin = _after_space(data, begin + 1)
    window = data[begin : begin + _WINDOW]
    while not data.startswith("]", at):
        wrong, end = _end(window, at - begin, whole=begin + len(window) == len(data))
        if wrong is not None and at > begin:
            # The row may only go on behind the window.
            begin, window = at, data[at : at + _WINDOW]
            continue
        if wrong is not None or end > LONGEST_ROW + at - begin:
            raise _unusable(data, begin, len(window), wrong)
        yield _parsed(data, at, window[at - begin : end])
        at = _after_space(data, begin + end)
        if data.startswith(",", at):
            at = _after_space(data, at + 1)
            if data.startswith("]", at):
                raise _not_json(data, at)
        elif not data.startswith("]", at):
            raise _not_json(data, at)
    if (rest := _after_space(data, at + 1)) != len(data):
        raise _not_json(data, rest)


def _end(window: str, at: int, *, whole: bool) -> tuple[int | None, int]:
    """Where it is no JSON, if so, and where the value at `at` ends. `whole`: nothing comes behind the window."""
    try:
        _, end = _DECODER.raw_decode(window, at)
    except json.JSONDecodeError as error:
        return error.pos, at
    except (RecursionError, ValueError):
        return at, at
    # A number goes on, perhaps.
    return (None if whole or end < len(window) else at), end


def _unusable(data: str, begin: int, length: int, wrong: int | None) -> InvalidInput:
    if wrong is None or begin + length < len(data):
        place = _place(data, begin)
        return InvalidInput(
            "data", f"data has a row of more than {LONGEST_ROW:,} characters, or is not valid JSON: {place}"
        )
    return _not_json(data, begin + wrong)


def _parsed(data: str, at: int, row: str) -> object:
    """What Python takes and JSON does not have, NaN and unpaired surrogates, is found out here."""
    try:
        return orjson.loads(row)
    except orjson.JSONDecodeError as error:
        raise _not_json(data, at + error.pos) from None


def _not_json(data: str, at: int) -> InvalidInput:
    return InvalidInput("data", f"data is not valid JSON: {_place(data, at)}")


def _place(data: str, at: int) -> str:
    return f"line {data.count(chr(10), 0, at) + 1}, column {at - data.rfind(chr(10), 0, at)}"


def _after_space(data: str, at: int) -> int:
    found = _SPACE.match(data, at)
    return found.end() if found else at


def _json_row(item: object) -> ImportRow:
    if not isinstance(item, Mapping):
        return "Row is not an object"
    properties = item.get("properties")
    return [item.get("externalId"), item.get("email"), {} if properties is None else properties]
