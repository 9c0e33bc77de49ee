"""Mutations, declared once: input, payload, error codes, scope, cost, audit action, idempotency.

Whatever is forgotten is an error at import. A mutation runs inside its audit trail; what its sender got wrong
(a `Refusal`) becomes the payload's `userErrors`, with every other field of the payload null.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar, cast, dataclass_transform, get_type_hints

import strawberry
from strawberry.types.base import get_object_definition
from strawberry.utils.str_converters import to_camel_case

from hogsend.access.audit import Action, AuditAction, Origin, Resource, audited
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.errors import Conflict, Refusal
from hogsend.graphql.codes import CONFLICTS, IDEMPOTENCY, error_codes
from hogsend.graphql.context import Info
from hogsend.graphql.fields import root_description, root_metadata

C = TypeVar("C", bound=Enum)
T = TypeVar("T")

AUDIT_ACTION = "audit_action"
ERROR_CODES = "error_codes"
CODES = "__error_codes__"

Answer = Mapping[str, Any]
Resolver = Callable[..., Awaitable[Any]]


@strawberry.type(description="Something in the input that its sender can put right.")
class UserError(Generic[C]):
    field: list[str] = strawberry.field(
        description="Path of the field within `input`; empty where it is all of it."
    )
    message: str = strawberry.field(description="What is wrong, and what the field takes.")
    code: C = strawberry.field(description="The kind of mistake, for programs.")


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def payload(description: str, *, errors: str, keyed: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class named `<Mutation>Payload` the payload of that mutation, all of its fields nullable.

    `errors` are the codes that its `userErrors` may carry, parted by blanks (see `hogsend.graphql.codes`); `keyed` adds
    those of idempotency keys.
    """

    def declare(kind: type[T]) -> type[T]:
        mutation = kind.__name__.removesuffix("Payload")
        codes = error_codes(
            f"{mutation[0].lower()}{mutation[1:]}", (*errors.split(), *(IDEMPOTENCY if keyed else ()))
        )
        kind.__annotations__["user_errors"] = list[UserError[codes]]  # type: ignore[valid-type]
        kind.user_errors = strawberry.field(  # type: ignore[attr-defined]
            default_factory=list, description="What is wrong with the input; empty where all is well."
        )
        setattr(kind, CODES, codes)
        made: type[T] = strawberry.type(description=description)(kind)
        return made

    return declare


def part(description: str) -> Any:
    """A field of a payload: null where the mutation was refused."""
    return strawberry.field(default=None, description=description)


def idempotency_key(does: str) -> Any:
    """The field `idempotency_key` of an input. `does` is the verb: send, enroll, replay …"""
    return strawberry.field(
        default=None, description=f"The same key and input {does} once and give the first answer again."
    )


def mutation(
    answers: type,
    *,
    scope: Scope,
    audits: tuple[Action, Resource],
    description: str,
    named: Callable[[Any], str | None] = lambda _input: None,
    cost: int = 10,
    claims_key: bool = True,
) -> Callable[[Resolver], Any]:
    """Declare a mutation with the payload `answers`; its resolver has one of two shapes.

    - `async def (self, info, input) -> <Payload>`
    - `async def (self, info, input, claim) -> Answer`, for an input with `idempotency_key`: the answer is JSON, kept
      with the key (by `claim.answer` in the effect's own transaction, else when the effect is over), and
      `<Payload>.of(context, answer)` shows it, now and each time that the key comes again.

    An input with `idempotency_key` whose resolver takes no claim must say `claims_key=False`: the action that it
    calls claims the key itself. `audits` is what the audit log says; `named` tells from the input what it is done to,
    for the row of a mutation that is refused; what carries it out calls `audit` in its transaction.
    """

    def declare(function: Resolver) -> Any:
        hints = get_type_hints(function, include_extras=True)
        input_type = hints["input"]
        takes_claim = "claim" in hints
        _check_declaration(function.__name__, answers, input_type, takes_claim, claims_key)
        codes: type[Enum] = getattr(answers, CODES)

        async def effect(root: Any, info: Info, input: Any) -> Any:
            if not takes_claim:
                return await function(root, info, input)

            async def claimed(claim: Claim | None) -> Answer:
                return cast(Answer, await function(root, info, input, claim))

            runtime = info.context.runtime
            # What would be done is another question than doing it: the key stays free for that.
            key = None if getattr(input, "dry_run", False) else input.idempotency_key
            answer = await once(runtime, info.field_name, key, given(input), claimed)
            return await answers.of(info.context, answer)  # type: ignore[attr-defined]

        async def resolver(self: Any, info: Info, input: Any) -> Any:
            context = info.context
            context.forget()
            try:
                origin = Origin(context.caller, context.ip_address, context.request_id)
                async with audited(
                    context.runtime, origin, AuditAction(*audits), info.field_name, resource_id=named(input)
                ) as trail:
                    try:
                        return await effect(self, info, input)
                    except Refusal as error:
                        trail.refuse([{"field": _path(error), "message": error.message, "code": error.code}])
                        return _refused(answers, codes, error)
            finally:
                context.forget()

        described = get_object_definition(input_type, strict=True).description
        resolver.__annotations__ |= {
            "input": Annotated[input_type, strawberry.argument(description=described)],
            "return": answers,
        }
        resolver.__name__ = function.__name__
        return strawberry.field(
            resolver=resolver,
            description=root_description(description, scope, cost),
            metadata=root_metadata(scope, cost)
            | {AUDIT_ACTION: audits, ERROR_CODES: frozenset(codes.__members__)},
        )

    return declare


def _check_declaration(
    name: str, answers: type, input_type: type, takes_claim: bool, claims_key: bool
) -> None:
    """Raise `TypeError` for a declaration that forgets or contradicts something."""
    codes: type[Enum] | None = getattr(answers, CODES, None)
    if codes is None:
        raise TypeError(f"{name}: {answers.__name__} must be declared with @payload, which names its errors")
    keyed = any(field.python_name == "idempotency_key" for field in _fields(input_type))
    if keyed and takes_claim != claims_key:
        raise TypeError(
            f"{name}: its input has an idempotencyKey, so it takes `claim` or says claims_key=False"
        )
    if takes_claim and not (keyed and hasattr(answers, "of")):
        raise TypeError(f"{name}: `claim` wants an idempotencyKey in the input, and {answers.__name__}.of")
    if takes_claim and not set(IDEMPOTENCY).issubset(codes.__members__):
        raise TypeError(f"{name}: {answers.__name__} must be declared with keyed=True")


def _refused(answers: type, codes: type[Enum], error: Refusal) -> Any:
    if error.code not in codes.__members__:
        raise LookupError(f"{answers.__name__} declares no error {error.code}") from error
    if isinstance(error, Conflict) != (error.code in CONFLICTS):
        raise LookupError(f"{error.code} stands in the wrong list of hogsend.graphql.codes") from error
    blank = {one.name: None for one in fields(answers) if one.init and one.default is not MISSING}
    return answers(
        **blank, user_errors=[UserError(field=_path(error), message=error.message, code=codes[error.code])]
    )


def _path(error: Refusal) -> list[str]:
    return [part for part in error.field.split(".") if part]


def _fields(kind: object) -> Any:
    return get_object_definition(kind, strict=True).fields


def given(input: object) -> dict[str, Any]:
    """The fields of an input that were given, those left out being `strawberry.UNSET`; camelCase names."""
    values = {field.python_name: getattr(input, field.python_name) for field in _fields(input)}
    return {
        to_camel_case(name): _plain(value) for name, value in values.items() if value is not strawberry.UNSET
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return given(value) if get_object_definition(value) is not None else value
