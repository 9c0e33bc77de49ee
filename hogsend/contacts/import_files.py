"""Contact import, reading: an uploaded CSV or JSON file, cut into pieces that one transaction each takes in.

A row is `[externalId, email, properties]`, or a sentence that says what is wrong with it. Of values, nothing but
doubled ids is looked at: a file that can be read at all is taken, and each row is judged when its turn comes.
"""

from __future__ import annotations

import csv
import io
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

# The module's own limit is 128 KiB a cell; ours is the limit on the request's body.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, as JSON. `first_row` counts from 1, without the header."""

    first_row: int
    rows: bytes


def cut(format: Format, data: str) -> tuple[int, list[Piece]]:
    """How many rows there are, and the pieces. Raises `InvalidInput` where the header or the JSON is unusable.

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
    reader = csv.reader(io.StringIO(data, newline=""), delimiter=delimiter, strict=True)
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
    try:
        items = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput("data", f"data is not valid JSON: {place}") from None
    if not isinstance(items, list):
        raise InvalidInput("data", "data must be a JSON array of contacts")
    return map(_json_row, items)


def _json_row(item: object) -> ImportRow:
    if not isinstance(item, Mapping):
        return "Row is not an object"
    properties = item.get("properties")
    return [item.get("externalId"), item.get("email"), {} if properties is None else properties]
