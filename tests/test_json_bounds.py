"""How many values JSON may hold is counted on its bytes, before anything is parsed."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogsend.json_bounds import TooManyValues, check_values


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 60_000 + b"1]",
        b"[]," * 60_000,
        b"[" * 100_000,
        b'{"a":1,' * 60_000,
        b"[" + b'"",' * 60_000 + b'""]',
        b'{"a": "' + b"x" * 1_000 + b'", "b": [' + b"[]," * 60_000,
    ],
)
async def test_more_than_enough_is_refused_whether_or_not_it_is_json(body: bytes) -> None:
    with pytest.raises(TooManyValues, match="at most 50,000 values"):
        await check_values(body)


async def test_a_file_travels_in_one_string_however_many_commas_it_has() -> None:
    rows = "a,b,[c],{d}\n" * 50_000 + '"quoted, too"\\' * 1_000
    await check_values(orjson.dumps({"format": "csv", "data": rows}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=9), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
async def test_what_is_small_passes(value: object) -> None:
    await check_values(orjson.dumps(value), most=10_000)


@given(st.lists(st.text(alphabet='a"\\\\,[{'), min_size=1, max_size=20))
async def test_structure_inside_strings_does_not_count(texts: list[str]) -> None:
    """As many values as there are strings, whatever they hold: each, its comma, and the list's bracket."""
    await check_values(orjson.dumps(texts), most=2 * len(texts) + 1)
