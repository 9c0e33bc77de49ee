"""Whatever fits the schemas, and much that does not, is answered as they say: no 5xx, no leak."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import schemathesis
from graphql import StringValueNode
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hogsend.schema.root import sdl
from tests.contract.conforming import spec

KEY = {"Authorization": "Bearer test-admin-key-long-enough"}
# Few in the everyday run, which is to be quick; SCHEMATHESIS_EXAMPLES=200 looks for what nobody thought of.
DEEP = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "0"))
EXAMPLES = settings(
    max_examples=DEEP or 2,
    deadline=None,
    derandomize=not DEEP,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def _text(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[StringValueNode]:
    return strategy.map(lambda value: StringValueNode(value=value))


_instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC).isoformat()
)
schemathesis.graphql.scalar("DateTime", _text(_instants))
schemathesis.graphql.scalar("Duration", _text(st.sampled_from(["P1D", "PT1H", "P2DT12H", "PT0.5S"])))
schemathesis.graphql.scalar("UUID", _text(st.uuids().map(str)))
schemathesis.graphql.scalar("JSON", _text(st.text(max_size=5)))

rest = schemathesis.openapi.from_dict(spec())
graphql = schemathesis.graphql.from_file(sdl())


@rest.parametrize()
@EXAMPLES
def test_rest(case: Any, served: str) -> None:
    response = case.call(base_url=served, headers=KEY)
    case.validate_response(
        response,
        checks=(
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ),
    )


@graphql.parametrize()
@EXAMPLES
def test_graphql(case: Any, served: str) -> None:
    response = case.call(base_url=f"{served}/graphql", headers=KEY)
    assert response.status_code < 500, response.text
    codes = {error["extensions"]["code"] for error in response.json().get("errors", ())}
    assert "INTERNAL" not in codes, f"{case.body}\n{response.text}"
