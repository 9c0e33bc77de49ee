"""A mutation is declared whole: what is forgotten or contradicts itself is an error at import."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import strawberry

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.access.idempotency import Claim
from hogsend.graphql.codes import CONFLICTS, WRONG_INPUT
from hogsend.graphql.context import Context, Info
from hogsend.graphql.mutations import Answer, idempotency_key, mutation, part, payload

ROOT = Path(__file__).parents[2]
WHOLE: dict[str, Any] = {
    "scope": Scope.FULL_ADMIN,
    "audits": (Action.CREATE, Resource.EVENT, None),
    "description": "Plant a tree.",
}


@strawberry.input(description="A tree to plant.")
class TreePlantInput:
    kind: str = strawberry.field(description="Which.")


@strawberry.input(description="Trees to plant.")
class TreesPlantInput:
    dry_run: bool = strawberry.field(default=False, description="Only say which.")
    idempotency_key: str | None = idempotency_key("plant")


@payload("What `treePlant` did.", errors="INVALID")
class TreePlantPayload:
    height: int | None = part("How high it is.")


@payload("What `treesPlant` did.", errors="INVALID", keyed=True)
class TreesPlantPayload:
    planted: int | None = part("How many.")

    @classmethod
    async def of(cls, _context: Context, answer: Answer) -> TreesPlantPayload:
        return cls(planted=answer["planted"])


async def tree_plant(self: Any, info: Info, input: TreePlantInput) -> TreePlantPayload:
    return TreePlantPayload(height=1)


async def trees_plant(self: Any, info: Info, input: TreesPlantInput, claim: Claim) -> Answer:
    return {"planted": 1}


async def would_plant(info: Info, input: TreesPlantInput) -> Answer:
    return {"planted": 0}


def test_what_is_whole_is_a_field() -> None:
    mutation(TreePlantPayload, **WHOLE)(tree_plant)
    mutation(TreesPlantPayload, **WHOLE, preview=would_plant)(trees_plant)


@pytest.mark.parametrize("forgotten", sorted(WHOLE))
def test_what_every_mutation_says(forgotten: str) -> None:
    rest = {name: value for name, value in WHOLE.items() if name != forgotten}
    with pytest.raises(TypeError, match=forgotten):
        mutation(TreePlantPayload, **rest)


def test_a_payload_names_its_errors_and_each_has_a_meaning() -> None:
    with pytest.raises(TypeError, match="errors"):
        payload("What `treePlant` did.")  # type: ignore[call-arg]
    with pytest.raises(KeyError, match="TOO_HIGH"):
        payload("What `treePlant` did.", errors="INVALID TOO_HIGH")(TreePlantPayload)
    with pytest.raises(TypeError, match="must be declared with @payload"):
        mutation(TreePlantInput, **WHOLE)(tree_plant)


async def _keyless(self: Any, info: Info, input: TreesPlantInput) -> TreesPlantPayload:
    return TreesPlantPayload(planted=1)


@pytest.mark.parametrize(
    ("function", "answers", "more", "rule"),
    [
        (trees_plant, TreesPlantPayload, {}, "it has a preview where its input has dryRun"),
        (
            tree_plant,
            TreePlantPayload,
            {"preview": would_plant},
            "it has a preview where its input has dryRun",
        ),
        (
            _keyless,
            TreesPlantPayload,
            {"preview": would_plant},
            "it takes `claim` where its input has an idempotencyKey",
        ),
        (tree_plant, TreesPlantPayload, {}, "its payload is TreePlantPayload"),
        (tree_plant, TreesPlantPayload, {}, "its payload is keyed=True where it takes `claim`"),
        (trees_plant, TreePlantPayload, {"preview": would_plant}, "its payload makes itself `of` an Answer"),
    ],
)
def test_what_contradicts_itself(
    function: Callable[..., Any], answers: type, more: dict[str, Any], rule: str
) -> None:
    with pytest.raises(TypeError) as refused:
        mutation(answers, **WHOLE, **more)(function)
    assert rule in str(refused.value)


def _codes(raised: str, place: int) -> set[str]:
    """The codes that calls of an error's class name, by keyword or by place."""
    found = set()
    for path in (ROOT / "hogsend").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(raised):
                named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
                found |= {
                    code.value for code in [*named, *call.args[place:]] if isinstance(code, ast.Constant)
                }
    return {str(code) for code in found}


def test_every_code_that_is_raised_has_its_meaning() -> None:
    """A code that no list knows would be a fault of ours where a sentence for the sender was meant."""
    assert _codes("Conflict", 1) == CONFLICTS.keys()
    assert _codes("InvalidInput", 2) - {"INVALID_CURSOR"} <= WRONG_INPUT.keys(), (
        "a cursor is no mutation's input"
    )
