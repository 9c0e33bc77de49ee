"""How types and fields are declared. The description of a root field tells the scope that opens it, and its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, dataclass_transform

import strawberry

from hogsend.access.caller import Scope
from hogsend.graphql.mapping import COLUMNS, FieldMap

SCOPE = "scope"
COST = "cost"
TELLS = "tells"
ANY_KEY = "any"

T = TypeVar("T")


def root_metadata(scope: Scope | None, cost: int) -> dict[str, Any]:
    """What the executor and the tests read off a root field. A scope of None opens it to any key."""
    return {SCOPE: scope.value if scope is not None else ANY_KEY, COST: cost}


def root_description(description: str, scope: Scope | None, cost: int) -> str:
    opened = f"Scope: `{scope.value}`." if scope is not None else "Scope: any key."
    return f"{description}\n\n{opened} Cost: {cost}."


def query(
    *, scope: Scope | None = Scope.READ, cost: int = 1, description: str
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field of Query; lists use `hogsend.graphql.rows.rows`."""
    return _root_field(strawberry.field, scope, cost, description)


def subscription(
    *,
    scope: Scope = Scope.READ,
    cost: int = 10,
    tells: Literal["entries", "state"] = "entries",
    description: str,
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field of Subscription: an async generator.

    One execution serves all who asked alike. What tells `entries` comes from `graphql.live.entries`, and each hears all
    of them behind its cursor. What tells a `state` yields the whole state each time, the current one first: who comes
    later hears the latest at once, and who reads slowly misses states but the latest.
    """
    return _root_field(strawberry.subscription, scope, cost, description, {TELLS: tells})


def _root_field(
    make: Callable[..., Any],
    scope: Scope | None,
    cost: int,
    description: str,
    more: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    return lambda resolver: make(
        resolver=resolver,
        description=root_description(description, scope, cost),
        metadata={**root_metadata(scope, cost), **(more or {})},
    )


def field(description: str, *, name: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field of a type that is worked out by a resolver."""

    def declare(resolver: Callable[..., Any]) -> Any:
        return strawberry.field(resolver=resolver, description=description, name=name)

    return declare


def attribute(description: str, *, name: str | None = None) -> Any:
    """Declare a field that holds a value."""
    return strawberry.field(description=description, name=name)


def optional(description: str, *, name: str | None = None) -> Any:
    """Declare a field of an input that may be left out."""
    return strawberry.field(default=None, description=description, name=name)


@dataclass_transform(kw_only_default=True, field_specifiers=(attribute, strawberry.field))
def wire_type(
    description: str, *, name: str | None = None, columns: FieldMap | None = None
) -> Callable[[type[T]], type[T]]:
    """Make a class an object type of the schema. `columns` is what differs from the names of what it is made of."""

    def declare(kind: type[T]) -> type[T]:
        if columns is not None:
            setattr(kind, COLUMNS, columns)
        return strawberry.type(kind, name=name, description=description)

    return declare


def described(description: str) -> Any:
    """An argument's description, inside `Annotated[…]`."""
    return strawberry.argument(description=description)
