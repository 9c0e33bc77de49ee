"""Request bodies as pydantic models: what is checked on the way in is what OpenAPI says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from hogsend.errors import InvalidInput
from hogsend.graphql.scalars import parse_instant

M = TypeVar("M", bound="Body")

_SAYS = {
    "missing": "is required",
    "string_type": "must be a string",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "float_type": "must be a number",
}

# What pydantic's sentences begin with; ours begin with the field.
_SUBJECT = re.compile(r"^(Value error, |(Input|String|List|Dictionary|Value) )")


class Body(BaseModel):
    """camelCase on the wire; nothing is coerced, and what is not known is ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, strict=True, extra="ignore", frozen=True
    )


class InvalidBody(InvalidInput):
    """Several fields may be wrong; the message speaks of the first. `details` are (path, sentence) pairs."""

    def __init__(self, details: Sequence[tuple[str, str]]) -> None:
        super().__init__(*details[0])
        self.details = tuple(details)


Instant = Annotated[
    datetime,
    BeforeValidator(parse_instant),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "description": "ISO 8601, with `Z` or an offset"}
    ),
]
Properties = dict[str, Any]


def parsed(model: type[M], values: Mapping[str, Any]) -> M:
    """The body as `model`. Raises `InvalidBody` that names every wrong field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidBody([_sentence(item) for item in error.errors(include_url=False)]) from None


def _sentence(error: Any) -> tuple[str, str]:
    path = ".".join(str(part) for part in error["loc"]) or "body"
    if error["type"] in ("enum", "literal_error"):
        return path, f"{path} must be one of {error['ctx']['expected'].replace(' or ', ', ')}"
    says = _SAYS.get(error["type"]) or _SUBJECT.sub("", error["msg"])
    return path, f"{path} {says}"
