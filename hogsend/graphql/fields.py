"""How root fields are declared: with the scope that opens them and what they cost, both in their description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry

from hogsend.access.caller import Scope

SCOPE = "scope"
COST = "cost"
ANY_KEY = "any"


def root_metadata(scope: Scope | None, cost: int) -> dict[str, Any]:
    """What the executor and the tests read off a root field. A scope of None opens it to any key."""
    return {SCOPE: scope.value if scope is not None else ANY_KEY, COST: cost}


def root_description(description: str, scope: Scope | None, cost: int) -> str:
    opened = f"Scope: `{scope.value}`." if scope is not None else "Scope: any key."
    return f"{description}\n\n{opened} Cost: {cost}."


def query(
    *, scope: Scope | None = Scope.READ, cost: int = 1, description: str
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field of Query; lists use `hogsend.graphql.connections.connection`."""

    def declare(resolver: Callable[..., Any]) -> Any:
        return strawberry.field(
            resolver=resolver,
            description=root_description(description, scope, cost),
            metadata=root_metadata(scope, cost),
        )

    return declare


def subscription(
    *, scope: Scope = Scope.READ, cost: int = 10, description: str
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field of Subscription: an async generator."""

    def declare(resolver: Callable[..., Any]) -> Any:
        return strawberry.subscription(
            resolver=resolver,
            description=root_description(description, scope, cost),
            metadata=root_metadata(scope, cost),
        )

    return declare


def field(description: str, *, name: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field of a type that is worked out by a resolver."""

    def declare(resolver: Callable[..., Any]) -> Any:
        return strawberry.field(resolver=resolver, description=description, name=name)

    return declare


def described(description: str) -> Any:
    """An argument's description, inside `Annotated[…]`."""
    return strawberry.argument(description=description)
