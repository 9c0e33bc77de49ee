"""How mutations are declared: one input, one payload, user errors, an audit row that cannot be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.types.base import get_object_definition
from strawberry.utils.str_converters import to_camel_case

from hogsend.access.audit import Action, AuditAction, Origin, Resource, audited
from hogsend.access.caller import Scope
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.graphql.context import Info
from hogsend.graphql.fields import root_description, root_metadata

C = TypeVar("C", bound=Enum)

DEED = "deed"


@strawberry.type(description="Something in the input that its sender can put right.")
class UserError(Generic[C]):
    field: list[str] = strawberry.field(
        description="Path of the field within `input`; empty where it is all of it."
    )
    message: str = strawberry.field(description="What is wrong, and what the field takes.")
    code: C = strawberry.field(description="The kind of mistake, for programs.")


@dataclass(frozen=True)
class Mistake:
    """One user error before it has the mutation's own type."""

    field: str
    message: str
    code: str


def mistakes(error: InvalidInput | NotFound | Conflict) -> Sequence[Mistake]:
    match error:
        case InvalidInput():
            return [Mistake(error.field, error.message, error.code)]
        case NotFound():
            return [Mistake("", error.message, "NOT_FOUND")]
        case Conflict():
            return [Mistake("", error.message, error.code)]


class Mutates(FieldExtension):
    """Runs one mutation: audited, what the sender got wrong as user errors, nothing read before it reused after."""

    def __init__(
        self, audit_action: AuditAction, payload: type, codes: type[Enum], names: Callable[[Any], str | None]
    ) -> None:
        self.audit_action = audit_action
        self.payload = payload
        self.codes = codes
        self.names = names

    async def resolve_async(self, next_: Callable[..., Any], source: Any, info: Info, **kwargs: Any) -> Any:
        context = info.context
        context.forget()
        try:
            origin = Origin(context.caller, context.ip_address, context.request_id)
            resource_id = self.names(kwargs["input"])
            async with audited(
                context.runtime, origin, self.audit_action, info.field_name, resource_id=resource_id
            ) as trail:
                payload = await self._attempt(next_, source, info, kwargs)
                if payload.user_errors:
                    trail.refuse([_noted(error) for error in payload.user_errors])
                return payload
        finally:
            context.forget()

    async def _attempt(self, next_: Callable[..., Any], source: Any, info: Info, kwargs: Any) -> Any:
        try:
            return await next_(source, info, **kwargs)
        except (InvalidInput, NotFound, Conflict) as error:
            return self._refused(mistakes(error))

    def _refused(self, found: Sequence[Mistake]) -> Any:
        blank = {
            field.name: None for field in fields(self.payload) if field.init and field.name != "user_errors"
        }
        errors = [
            UserError(
                field=[part for part in mistake.field.split(".") if part],
                message=mistake.message,
                code=self._code(mistake.code),
            )
            for mistake in found
        ]
        return self.payload(**blank, user_errors=errors)

    def _code(self, code: str) -> Enum:
        try:
            return self.codes[code]
        except KeyError:
            raise LookupError(f"{self.codes.__name__} has no member {code}") from None


def _noted(error: UserError[Any]) -> dict[str, Any]:
    return {"field": error.field, "message": error.message, "code": error.code.name}


def mutation(
    *,
    scope: Scope,
    payload: type,
    codes: type[Enum],
    description: str,
    audit_action: tuple[Action, Resource],
    names: Callable[[Any], str | None] = lambda _input: None,
    cost: int = 10,
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a mutation `async def (self, info, input) -> payload`.

    Raise `InvalidInput`, `NotFound` or `Conflict`: they become the payload's `userErrors`, with every other field
    of the payload null; `codes` must have a member for each code they may carry. `audit_action` is what the audit log
    says. `names` tells from the input what it is done to, for
    the row of a mutation that is refused; what carries it out calls `audit` in its transaction.
    """

    def declare(resolver: Callable[..., Any]) -> Any:
        return strawberry.field(
            resolver=resolver,
            description=root_description(description, scope, cost),
            metadata=root_metadata(scope, cost) | {DEED: audit_action},
            extensions=[Mutates(AuditAction(*audit_action), payload, codes, names)],
        )

    return declare


def given(input: object) -> dict[str, Any]:
    """The fields of an input that were given, those left out being `strawberry.UNSET`; camelCase names."""
    definition = get_object_definition(input, strict=True)
    values = {field.python_name: getattr(input, field.python_name) for field in definition.fields}
    return {
        to_camel_case(name): cast(Any, value)
        for name, value in values.items()
        if value is not strawberry.UNSET
    }
