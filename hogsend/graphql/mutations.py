"""Mutations, declared once: input, payload, error codes, scope, cost, audit, idempotency, dry run.

Whatever is forgotten is an error at import. A mutation runs inside its audit trail; what its sender got wrong
(a `Refusal`) becomes the payload's `userErrors`, with every other field of the payload null.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar, cast, dataclass_transform, get_type_hints
from uuid import UUID

import strawberry
from strawberry.types.base import StrawberryObjectDefinition, get_object_definition
from strawberry.utils.str_converters import to_camel_case

from hogsend.access.audit import Action, AuditAction, Origin, Resource, Trail, audited
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim, once
from hogsend.access.under_way import UnderWay
from hogsend.errors import Conflict, Refusal
from hogsend.graphql import ids
from hogsend.graphql.codes import CONFLICTS, IDEMPOTENCY, error_codes
from hogsend.graphql.context import Context, Info
from hogsend.graphql.fields import root_description, root_metadata
from hogsend.graphql.node import Node, by_key

C = TypeVar("C", bound=Enum)
T = TypeVar("T")
N = TypeVar("N", bound=Node)

AUDIT_ACTION = "audit_action"
ERROR_CODES = "error_codes"
CODES = "__error_codes__"

Answer = Mapping[str, Any]
Resolver = Callable[..., Awaitable[Any]]
Named = Callable[[Any], str | None]
Preview = Callable[[Info, Any], Awaitable[Answer]]


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
        # Its own alone: what it inherits stays as it is.
        own = dict(vars(kind).get("__annotations__", {}))
        kind.__annotations__ = own | {"user_errors": list[UserError[codes]]}  # type: ignore[valid-type]
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


async def sample_of(context: Context, kind: type[N], keys: Sequence[str]) -> list[N]:
    """The things that an answer names by their UUIDs, without those that are gone since."""
    found = await asyncio.gather(*(by_key(context, kind, UUID(key)) for key in keys))
    return [one for one in found if one is not None]


def idempotency_key(does: str) -> Any:
    """The field `idempotency_key` of an input. `does` is the verb: send, enroll, replay …"""
    return strawberry.field(
        default=None, description=f"The same key and input {does} once and give the first answer again."
    )


def mutation(
    answers: type,
    *,
    scope: Scope,
    audits: tuple[Action, Resource, Named | None],
    description: str,
    cost: int = 10,
    preview: Preview | None = None,
    claims_key: bool = True,
    several: bool = False,
) -> Callable[[Resolver], Any]:
    """Declare a mutation with the payload `answers`; its resolver has one of two shapes.

    - `async def (self, info, input) -> <Payload>`
    - `async def (self, info, input, claim) -> Answer`, for an input with `idempotency_key`: the answer is JSON, kept
      with the key (by `claim.answer` in the effect's own transaction, else when the effect is over), and
      `<Payload>.of(context, answer)` shows it, now and each time that the key comes again.

    `audits` is what the audit log says: what is done, to which kind of thing, and which one the input names
    (`named_by_id`, `named_by`; None where it names none), for the row of a mutation that is refused; what carries the
    mutation out calls `audit` in its transaction. `preview`, `async def (info, input) -> Answer`, answers a dry run in
    the resolver's place; the key stays free. `claims_key=False` says that the `idempotency_key` of the input is
    not for us: the action that the resolver calls keeps it. `several` is True where the effect is more than one
    transaction, or reaches outside: its intent is on record before the first.
    """

    def declare(function: Resolver) -> Any:
        hints = get_type_hints(function, include_extras=True)
        audit_action, named = AuditAction(*audits[:2]), audits[2]
        made = _Mutation(
            function,
            answers,
            hints["input"],
            audit_action,
            named,
            preview,
            takes_claim="claim" in hints,
            several=several,
        )
        made.check(hints["return"], claims_key)

        async def resolver(self: Any, info: Info, input: Any) -> Any:
            return await made.run(self, info, input)

        argument = strawberry.argument(description=_definition(made.input).description)
        resolver.__annotations__ |= {"input": Annotated[made.input, argument], "return": answers}
        resolver.__name__ = function.__name__
        return strawberry.field(
            resolver=resolver,
            description=root_description(description, scope, cost),
            metadata=root_metadata(scope, cost)
            | {AUDIT_ACTION: audit_action, ERROR_CODES: frozenset(made.codes.__members__)},
        )

    return declare


def named_by_id(prefix: str) -> Named:
    """What an input's `id` names, as the audit log has it: without the type's word."""
    return lambda asked: ids.name_of(asked.id, prefix)


def named_by(*names: str) -> Named:
    """What the first of these fields of an input says that says anything."""
    return lambda asked: next((value for name in names if (value := getattr(asked, name))), None)


@dataclass(frozen=True)
class _Mutation:
    """One mutation as it was declared, and how it runs."""

    function: Resolver
    answers: Any
    input: type
    audit_action: AuditAction
    named: Named | None
    preview: Preview | None
    takes_claim: bool
    several: bool

    @property
    def codes(self) -> type[Enum]:
        codes: type[Enum] | None = getattr(self.answers, CODES, None)
        if codes is None:
            raise TypeError(f"{self.answers.__name__} must be declared with @payload, which names its errors")
        return codes

    def check(self, returns: Any, claims_key: bool) -> None:
        """Raise `TypeError` for a declaration that forgets or contradicts something."""
        name = self.function.__name__
        stem = "".join(word.capitalize() for word in name.split("_"))
        takes = {field.python_name for field in _definition(self.input).fields}
        keyed, previewed = "idempotency_key" in takes and claims_key, "dry_run" in takes
        rules = {
            f"its payload is {stem}Payload": self.answers.__name__ == f"{stem}Payload",
            f"its input is {stem}Input": self.input.__name__ == f"{stem}Input",
            "it takes `claim` where its input has an idempotencyKey": self.takes_claim == keyed,
            "it returns Answer where it takes `claim`, else its payload": returns
            == (Answer if self.takes_claim else self.answers),
            "its payload is keyed=True where it takes `claim`": self.takes_claim
            == set(self.codes.__members__).issuperset(IDEMPOTENCY),
            "it has a preview where its input has dryRun": (self.preview is not None) == previewed,
            "its payload makes itself `of` an Answer": hasattr(self.answers, "of") == (keyed or previewed),
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise TypeError(f"{name}: {'; '.join(broken)}")

    async def run(self, root: Any, info: Info, input: Any) -> Any:
        """To its end, whoever still listens for the answer."""
        return await info.context.runtime.part(UnderWay).whole(self._on_record(root, info, input))

    async def _on_record(self, root: Any, info: Info, input: Any) -> Any:
        """Inside its audit trail; nothing that was read before it is used again after it."""
        context = info.context
        context.forget()
        runtime, operation = context.runtime, info.field_name
        origin = Origin(context.caller, context.ip_address, context.request_id)
        named = None if self.named is None else self.named(input)
        try:
            async with audited(
                runtime,
                origin,
                self.audit_action,
                operation,
                resource_id=named,
                several=self.several and not getattr(input, "dry_run", False),
            ) as trail:
                try:
                    return await self._answer(root, info, input, trail)
                except Refusal as error:
                    trail.refuse([{"field": _path(error), "message": error.message, "code": error.code}])
                    return self._refused(error)
        finally:
            context.forget()

    async def _answer(self, root: Any, info: Info, input: Any, trail: Trail) -> Any:
        context = info.context
        if self.preview is not None and input.dry_run:
            trail.detail["dryRun"] = True
            return await self.answers.of(context, await self.preview(info, input))
        if not self.takes_claim:
            return await self.function(root, info, input)

        async def effect(claim: Claim) -> Answer:
            return cast(Answer, await self.function(root, info, input, claim))

        answer = await once(context.runtime, info.field_name, input.idempotency_key, given(input), effect)
        context.forget()
        return await self.answers.of(context, answer)

    def _refused(self, error: Refusal) -> Any:
        """The payload that says so: every field but `userErrors` is null."""
        if error.code not in self.codes.__members__:
            raise LookupError(f"{self.answers.__name__} declares no error {error.code}") from error
        if isinstance(error, Conflict) != (error.code in CONFLICTS):
            raise LookupError(f"{error.code} stands in the wrong list of hogsend.graphql.codes") from error
        code = self.codes[error.code]
        blank = {one.name: None for one in fields(self.answers) if one.name != "user_errors"}
        wrong = UserError(field=_path(error), message=error.message, code=code)
        return self.answers(**blank, user_errors=[wrong])


def _path(error: Refusal) -> list[str]:
    return [part for part in error.field.split(".") if part]


def _definition(kind: object) -> StrawberryObjectDefinition:
    return get_object_definition(kind, strict=True)


def given(input: object) -> dict[str, Any]:
    """The fields of an input that were given, those left out being `strawberry.UNSET`; camelCase names."""
    values = {field.python_name: getattr(input, field.python_name) for field in _definition(input).fields}
    return {
        to_camel_case(name): _plain(value) for name, value in values.items() if value is not strawberry.UNSET
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return given(value) if get_object_definition(value) is not None else value
