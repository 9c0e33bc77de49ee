"""Query parameters: what each takes, said once for the check, the error and OpenAPI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.datastructures import QueryParams

from hogsend.graphql.scalars import parse_instant
from hogsend.rest.models import MOST_DETAILS, InvalidBody, not_taken

HIGHEST = 2**31 - 1
LONGEST_TEXT = 1_000


class ParamType(Protocol):
    """What a parameter takes: how it is parsed, and its JSON Schema."""

    def parse(self, text: str) -> Any:
        """Raises `ValueError` with a sentence's second half: `must be …`."""
        ...

    def schema(self) -> Mapping[str, Any]:
        """JSON Schema, for OpenAPI."""
        ...


@dataclass(frozen=True)
class Integer:
    low: int
    high: int
    default: int

    def parse(self, text: str) -> int:
        digits = text.removeprefix("-")
        if (
            digits.isascii()
            and digits.isdecimal()
            and len(digits) < 20
            and self.low <= int(text) <= self.high
        ):
            return int(text)
        bounds = f"between {self.low} and {self.high}" if self.high < HIGHEST else f"of at least {self.low}"
        raise ValueError(f"must be an integer {bounds}")

    def schema(self) -> Mapping[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high, "default": self.default}


@dataclass(frozen=True)
class Text:
    def parse(self, text: str) -> str:
        if "\x00" in text or len(text) > LONGEST_TEXT:
            raise ValueError(f"must be text of at most {LONGEST_TEXT} characters, without NUL")
        return text

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "maxLength": LONGEST_TEXT}


@dataclass(frozen=True)
class Choice:
    """One of a few words; `becomes` is what GraphQL calls them, upper case unless told."""

    words: Sequence[str]
    becomes: Mapping[str, str] = field(default_factory=dict)

    def parse(self, text: str) -> str:
        if text not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}")
        return self.becomes.get(text, text.upper().replace("-", "_"))

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True)
class Flag:
    def parse(self, text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("must be true or false")
        return text == "true"

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": ["true", "false"]}


@dataclass(frozen=True)
class Instant:
    """Given on as text, once it is known to be an instant."""

    def parse(self, text: str) -> str:
        # A `+` of an offset that was not escaped arrives as a space.
        given = text.replace(" ", "+") if "T" in text else text
        parse_instant(given)
        return given

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True)
class Param:
    """One parameter of a query."""

    name: str
    type: ParamType
    description: str


LIMIT = Param("limit", Integer(1, 100, 50), "How many entries a page has")
OFFSET = Param("offset", Integer(0, HIGHEST, 0), "How many entries to skip")
PAGE = (LIMIT, OFFSET)
FROM = Param("from", Instant(), "Only what happened then or later")
TO = Param("to", Instant(), "Only what happened then or earlier")


def unexpected(names: Sequence[str], given: QueryParams) -> list[tuple[str, str]]:
    """What is wrong with the names in a query: those that are not taken, those that are there twice. Path, sentence."""
    counted = Counter(name for name, _ in given.multi_items())
    unknown = [not_taken(name, names, what="the query") for name in counted if name not in names]
    twice = [(name, f"{name} must be given once") for name, times in counted.items() if times > 1]
    return [*unknown, *(one for one in twice if one[0] in names)][:MOST_DETAILS]


def check_names(names: Sequence[str], given: QueryParams) -> None:
    """Raises `InvalidBody` for parameters of a query that are not taken, or are there twice."""
    if wrong := unexpected(names, given):
        raise InvalidBody(wrong)


def read(params: Sequence[Param], given: QueryParams) -> dict[str, Any]:
    """Every parameter's value: its default, or None, where it was left out or is empty. Raises `InvalidBody`."""
    values: dict[str, Any] = {}
    wrong = unexpected([param.name for param in params], given)
    for param in params:
        text = given.get(param.name, "")
        if not text:
            values[param.name] = getattr(param.type, "default", None)
            continue
        try:
            values[param.name] = param.type.parse(text)
        except ValueError as error:
            wrong.append((param.name, f"{param.name} {error}"))
    if wrong:
        raise InvalidBody(wrong)
    return values
