"""Who is not written to, and why."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from hogsend.addresses import delivery_address
from hogsend.clock import ManualClock
from hogsend.consent import preference_centre, suppression
from hogsend.consent.ledger import refused_among
from hogsend.consent.refusal import refusal
from hogsend.consent.tokens import ReaderToken
from hogsend.decisions.reasons import Reason
from hogsend.runtime import Runtime
from hogsend.tables.contacts import contacts
from tests.fixtures.emails import MakePerson, preferences_of, reasons_of


async def why(
    runtime: Runtime, contact_id: UUID | None, category: str | None = "news", email: str = "ada@example.com"
) -> Reason | None:
    async with runtime.database.read() as conn:
        refused = await refusal(conn, contact_id=contact_id, email=email, category=category)
    return None if refused is None else refused.reason


async def change(runtime: Runtime, what: Any, *args: Any, **values: Any) -> bool:
    async with runtime.database.transaction() as conn:
        changed: bool = await what(conn, runtime.clock, *args, **values)
        return changed


async def test_nothing_forbids_it_at_first(runtime: Runtime, person: MakePerson) -> None:
    ada = await person()
    assert await why(runtime, ada["id"]) is None
    assert await why(runtime, None, email="stranger@example.com") is None


async def test_unsubscribed_from_all_but_what_is_transactional(runtime: Runtime, person: MakePerson) -> None:
    ada = await person()
    assert await change(runtime, suppression.unsubscribe, ada["id"], source="form")
    assert not await change(runtime, suppression.unsubscribe, ada["id"], source="form")
    assert await why(runtime, ada["id"]) is Reason.UNSUBSCRIBED_FROM_ALL
    assert await why(runtime, ada["id"], None) is Reason.UNSUBSCRIBED_FROM_ALL
    assert await why(runtime, None) is Reason.UNSUBSCRIBED_FROM_ALL
    assert await why(runtime, ada["id"], "transactional") is None
    assert await reasons_of(runtime, "preference") == [("unsubscribed", {"scope": "all", "source": "form"})]


async def test_unsubscribed_from_one_category_and_back(runtime: Runtime, person: MakePerson) -> None:
    ada = await person()
    await change(runtime, suppression.unsubscribe, ada["id"], category="news", source="form")
    assert await why(runtime, ada["id"], "news") is Reason.UNSUBSCRIBED_FROM_CATEGORY
    assert await why(runtime, ada["id"], "tips") is None
    assert await change(runtime, suppression.resubscribe, ada["id"], category="news", source="form")
    assert await why(runtime, ada["id"], "news") is None


async def test_another_spelling_of_a_category_is_no_way_around(runtime: Runtime, person: MakePerson) -> None:
    ada = await person()
    await change(runtime, suppression.unsubscribe, ada["id"], category="News", source="form")
    for spelled in ("news", "NEWS ", " News"):
        assert await why(runtime, ada["id"], spelled) is Reason.UNSUBSCRIBED_FROM_CATEGORY
        assert await why(runtime, None, spelled) is Reason.UNSUBSCRIBED_FROM_CATEGORY
    assert await change(runtime, suppression.resubscribe, ada["id"], category="news", source="form")
    assert await why(runtime, ada["id"], "NEWS") is None
    assert (await preferences_of(runtime, ada["id"])).categories == {"News": True}
    await change(
        runtime,
        suppression.change_preferences,
        ada["id"],
        categories={"news": True, "NEWS": False},
        source="form",
    )
    assert await why(runtime, ada["id"], "news") is Reason.UNSUBSCRIBED_FROM_CATEGORY


@pytest.mark.parametrize(
    ("refused", "sent"), [("caf\u00e9", "cafe\u0301"), ("CAFE\u0301", "café"), ("Straße", "STRASSE")]
)
async def test_a_category_has_one_unicode_form(
    runtime: Runtime, person: MakePerson, refused: str, sent: str
) -> None:
    ada = await person()
    await change(runtime, suppression.unsubscribe, ada["id"], category=refused, source="form")
    assert await why(runtime, ada["id"], sent) is Reason.UNSUBSCRIBED_FROM_CATEGORY
    assert await why(runtime, None, sent) is Reason.UNSUBSCRIBED_FROM_CATEGORY


SIGMAS = tuple(f"mega{sigma}@example.com" for sigma in "\u03a3\u03c2\u03c3")


@pytest.mark.parametrize("refused", SIGMAS)
async def test_an_address_in_capitals_is_refused_with_either_sigma(runtime: Runtime, refused: str) -> None:
    await change(runtime, suppression.suppress, refused, "manual")
    for each in SIGMAS:
        assert await why(runtime, None, email=each) is Reason.SUPPRESSED_BY_OPERATOR
    assert await why(runtime, None, email="megat@example.com") is None
    async with runtime.database.read() as conn:
        spelled = [delivery_address(each) for each in SIGMAS]
        assert await refused_among(conn, [*spelled, "b@example.com"]) == set(spelled)
    assert await change(runtime, suppression.lift, SIGMAS[2])
    assert [await why(runtime, None, email=each) for each in SIGMAS] == [None] * 3


async def test_the_preference_centre_shows_a_category_once(runtime: Runtime, person: MakePerson) -> None:
    ada = await person()
    (name, *_) = runtime.templates.categories()
    await change(runtime, suppression.unsubscribe, ada["id"], category=name.upper(), source="form")
    token = ReaderToken("ada@example.com", ada["id"], None, None)
    shown = (await preference_centre.choices(runtime, token)).categories
    assert [wanted for word, wanted in shown.items() if word.casefold() == name] == [False]
    known = list(shown)
    wanted = [word for word in shown if shown[word]]
    await preference_centre.choose(runtime, token, known=known, wanted=wanted, resubscribe=False)
    assert await why(runtime, ada["id"], name) is Reason.UNSUBSCRIBED_FROM_CATEGORY
    await preference_centre.choose(runtime, token, known=known, wanted=known, resubscribe=False)
    assert await why(runtime, ada["id"], name) is None


@pytest.mark.parametrize(
    ("type", "reason", "said"),
    [
        ("bounce", Reason.ADDRESS_BOUNCED, "bounced"),
        ("complaint", Reason.ADDRESS_COMPLAINED, "complained"),
        ("manual", Reason.SUPPRESSED_BY_OPERATOR, "suppressed_by_operator"),
    ],
)
async def test_a_suppressed_address_gets_nothing_until_it_is_lifted(
    runtime: Runtime, person: MakePerson, type: str, reason: Reason, said: str
) -> None:
    ada = await person()
    assert await change(runtime, suppression.suppress, "ada@example.com", type)
    assert not await change(runtime, suppression.suppress, "ada@example.com", type)
    for category in ("news", "transactional", None):
        assert await why(runtime, ada["id"], category) is reason
    assert (await preferences_of(runtime, ada["id"])).suppressed
    assert await change(runtime, suppression.lift, "ada@example.com")
    assert not await change(runtime, suppression.lift, "ada@example.com")
    assert await why(runtime, ada["id"]) is None
    assert not (await preferences_of(runtime, ada["id"])).suppressed
    assert [reason for reason, _ in await reasons_of(runtime, "preference")] == [said, "resubscribed"]


async def test_an_address_that_nobody_holds_can_be_suppressed(runtime: Runtime) -> None:
    await change(runtime, suppression.suppress, "stranger@example.com", "manual")
    assert await why(runtime, None, email="stranger@example.com") is Reason.SUPPRESSED_BY_OPERATOR


async def test_a_deleted_contact_gets_nothing(
    runtime: Runtime, clock: ManualClock, person: MakePerson
) -> None:
    ada = await person(deleted_at=clock.now())
    assert await why(runtime, ada["id"], "transactional") is Reason.CONTACT_DELETED


async def test_what_was_said_before_a_merge_holds_for_the_survivor(
    runtime: Runtime, clock: ManualClock, person: MakePerson
) -> None:
    survivor = await person("ada@example.com")
    loser = await person(None, external_id="old")
    async with runtime.database.transaction() as conn:
        await conn.execute(
            update(contacts)
            .where(contacts.c.id == loser["id"])
            .values(deleted_at=clock.now(), merged_into=survivor["id"])
        )
    assert await why(runtime, loser["id"]) is None
    await change(runtime, suppression.unsubscribe, loser["id"], source="one-click")
    assert (await preferences_of(runtime, survivor["id"])).unsubscribed_all
    assert await why(runtime, loser["id"]) is Reason.UNSUBSCRIBED_FROM_ALL


async def test_changes_at_once_are_all_kept(runtime: Runtime, person: MakePerson) -> None:
    ada = await person()
    names = [f"category-{n}" for n in range(8)]
    await asyncio.gather(
        *(change(runtime, suppression.unsubscribe, ada["id"], category=name, source="form") for name in names)
    )
    assert (await preferences_of(runtime, ada["id"])).categories == dict.fromkeys(names, False)
