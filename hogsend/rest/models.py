"""Request bodies as pydantic models: what is checked on the way in is what OpenAPI says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from hogsend.errors import InvalidInput
from hogsend.graphql.scalars import parse_instant

M = TypeVar("M", bound="Body")

# By pydantic's type of error; its own sentences are not for clients.
_SAYS = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_unicode": "must be text in UTF-8",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be an array",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "value_error": "{error}",
}
NOT_TAKEN = "does not have a value that is taken here"
MOST_DETAILS = 20
LONGEST_NAME = 100


class Body(BaseModel):
    """camelCase on the wire; nothing is coerced, and what is not known is refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, strict=True, extra="forbid", frozen=True
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
    """The body as `model`. Raises `InvalidBody` that names every wrong field, up to `MOST_DETAILS` of them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[:MOST_DETAILS]
        raise InvalidBody([_sentence(model, item) for item in wrong]) from None


def not_taken(name: str, takes: Sequence[str], *, what: str) -> tuple[str, str]:
    """The path and the sentence for a name that nobody knows: what is taken, and which was probably meant."""
    last = name.rsplit(".", 1)[-1][:LONGEST_NAME]
    meant = get_close_matches(last, takes, n=1)
    guess = f"; did you mean {meant[0]}?" if meant else ""
    taken = f"{what} takes {', '.join(takes)}" if takes else f"{what} takes none"
    shown = name[:LONGEST_NAME]
    return shown, f"{shown} is not known: {taken}{guess}"


def _sentence(model: type[Body], error: Any) -> tuple[str, str]:
    path = ".".join(str(part) for part in error["loc"]) or "body"
    kind = error["type"]
    if kind == "extra_forbidden":
        inside = _model_at(model, error["loc"][:-1])
        what = "the body" if len(error["loc"]) == 1 else path.rsplit(".", 1)[0]
        return not_taken(path, _names(inside), what=what)
    if kind in ("enum", "literal_error"):
        return path, f"{path} must be one of {error['ctx']['expected'].replace(' or ', ', ')}"
    given = error.get("ctx", {})
    if kind in ("string_too_short", "too_short") and given["min_length"] == 1:
        return path, f"{path} must not be empty"
    says = _SAYS.get(kind, NOT_TAKEN).format_map(given)
    return path, f"{path} {says}"


def _names(model: type[Body]) -> list[str]:
    """What a body of this kind may have, as it is written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[Body], place: Sequence[str | int]) -> type[Body]:
    """The model of what stands at a place inside a body of `model`."""
    for part in place:
        if isinstance(part, str):
            written = dict(zip(_names(model), model.model_fields.values(), strict=True))
            model = next(_models_in(written[part].annotation), model) if part in written else model
    return model


def _models_in(annotation: Any) -> Iterator[type[Body]]:
    if isinstance(annotation, type) and issubclass(annotation, Body):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
