"""Who is this? By every key, in every order, and at once."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from hogsend.clock import ManualClock
from hogsend.contacts.identity_keys import Keys
from hogsend.contacts.lookup import find, find_by
from hogsend.contacts.resolve import Resolved, resolve
from hogsend.errors import InvalidInput
from hogsend.storage.database import Database
from hogsend.tables.contacts import contact_aliases, contacts
from tests.driving import statements


class People:
    """`resolve` in a transaction of its own, with every key optional."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock

    async def __call__(
        self,
        external_id: str | None = None,
        email: str | None = None,
        anonymous_id: str | None = None,
        **more: Any,
    ) -> Resolved:
        keys = Keys.of(external_id, email, anonymous_id)
        async with self.database.transaction() as conn:
            return await resolve(conn, self.clock, keys, **more)

    async def live(self) -> int:
        async with self.database.read() as conn:
            query = select(func.count()).where(contacts.c.deleted_at.is_(None))
            return int((await conn.execute(query)).scalar_one())

    async def id_of(self, **key: Any) -> UUID | None:
        async with self.database.read() as conn:
            found = await find_by(conn, **key)
            return None if found is None else found["id"]


@pytest.fixture
def people(database: Database, clock: ManualClock) -> People:
    return People(database, clock)


async def test_creates_once_and_finds_by_either_key(people: People) -> None:
    ada = await people("ada", " Ada@Example.COM ", properties={"plan": "free", "x": None})
    assert ada.created
    assert not ada.linked
    assert ada.contact["email"] == "ada@example.com"
    assert ada.contact["properties"] == {"plan": "free"}
    again = await people(email="ADA@example.com")
    assert not again.created
    assert again.contact["id"] == ada.contact["id"] == (await people("ada")).contact["id"]


async def test_fills_in_the_missing_key(people: People) -> None:
    lead = await people(email="ada@example.com")
    linked = await people("ada", "ada@example.com")
    assert linked.linked
    assert not linked.created
    assert linked.contact["id"] == lead.contact["id"]
    assert linked.contact["external_id"] == "ada"
    assert not (await people("ada", "ada@example.com")).linked


async def test_merges_properties_at_the_top_level(people: People, clock: ManualClock) -> None:
    first = await people("ada", properties={"a": {"x": 1}, "b": 1})
    clock.advance(timedelta(hours=1))
    second = await people("ada", properties={"a": {"y": 2}, "b": None, "c": 3})
    assert second.contact["properties"] == {"a": {"y": 2}, "c": 3}
    assert second.contact["updated_at"] == second.contact["last_seen_at"] == clock.now()
    assert second.contact["first_seen_at"] == first.contact["created_at"]
    clock.advance(timedelta(hours=1))
    third = await people("ada", properties={"c": 3})
    assert third.contact["updated_at"] == second.contact["updated_at"]
    assert third.contact["last_seen_at"] == clock.now()
    unseen = await people("ada", seen=False)
    assert unseen.contact == third.contact


async def test_two_contacts_become_one_where_each_key_has_its_own(people: People) -> None:
    user = await people("ada", properties={"plan": "pro"})
    lead = await people(email="ada@example.com", properties={"plan": "free", "source": "ads"})
    merged = await people("ada", "ada@example.com")
    assert merged.contact["id"] == user.contact["id"]
    assert merged.merged == [lead.contact["id"]]
    assert merged.linked
    assert merged.contact["properties"] == {"plan": "pro", "source": "ads"}
    assert await people.live() == 1
    assert await people.id_of(id=lead.contact["id"]) == user.contact["id"]
    async with people.database.read() as conn:
        for ref in ("ada", str(user.contact["id"]), str(lead.contact["id"])):
            found = await find(conn, ref)
            assert found is not None
            assert found["id"] == user.contact["id"]
        assert await find(conn, "nobody") is None
        assert await find(conn, str(uuid4())) is None


async def test_two_named_contacts_merge_and_both_names_resolve(people: People) -> None:
    one = await people("one", "one@example.com")
    two = await people("two", "two@example.com")
    merged = await people("one", "two@example.com")
    assert merged.contact["id"] == one.contact["id"]
    assert merged.contact["email"] == "two@example.com"
    for key in ({"external_id": "one"}, {"external_id": "two"}):
        assert await people.id_of(**key) == one.contact["id"]
    for email in ("one@example.com", "two@example.com"):
        assert await people.id_of(email=email) == one.contact["id"]
    assert await people.id_of(id=two.contact["id"]) == one.contact["id"]
    assert not (await people("two", "two@example.com")).merged


async def test_a_new_address_replaces_the_old_which_goes_on_resolving(people: People) -> None:
    ada = await people("ada", "old@example.com")
    moved = await people("ada", "new@example.com")
    assert moved.contact["email"] == "new@example.com"
    assert moved.linked
    by_old = await people(email="old@example.com")
    assert by_old.contact["id"] == ada.contact["id"]
    assert by_old.contact["email"] == "new@example.com"
    assert not by_old.linked


async def test_chains_of_merges_are_one_step_long(people: People) -> None:
    a = await people("a")
    b = await people("b")
    c = await people("c")
    await people("b", "b@example.com")
    await people("c", "b@example.com")
    await people("c", "c@example.com")
    last = await people("a", "c@example.com")
    assert last.contact["id"] == a.contact["id"]
    for old in (b, c):
        assert await people.id_of(id=old.contact["id"]) == a.contact["id"]
    for key in ("a", "b", "c"):
        assert await people.id_of(external_id=key) == a.contact["id"]
    assert await people.live() == 1


async def test_a_device_joins_whoever_signs_in_on_it_first(people: People) -> None:
    visitor = await people(anonymous_id="cookie", properties={"source": "ads"})
    ada = await people("ada", "ada@example.com", anonymous_id="cookie")
    assert ada.contact["id"] == visitor.contact["id"]
    bob = await people("bob", "bob@example.com", anonymous_id="cookie")
    assert bob.created
    assert bob.contact["anonymous_id"] is None
    assert (await people(anonymous_id="cookie")).contact["id"] == ada.contact["id"]
    assert (await people("bob", anonymous_id="phone")).contact["anonymous_id"] == "phone"
    await people("bob", anonymous_id="tablet")
    assert (await people(anonymous_id="tablet")).contact["id"] == bob.contact["id"]


async def test_an_anonymous_visitor_is_merged_into_the_known_person(people: People) -> None:
    ada = await people("ada", "ada@example.com")
    visitor = await people(anonymous_id="cookie", properties={"source": "ads"})
    merged = await people("ada", anonymous_id="cookie")
    assert merged.contact["id"] == ada.contact["id"]
    assert merged.merged == [visitor.contact["id"]]
    assert merged.contact["properties"] == {"source": "ads"}


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({}, "externalId"),
        ({"email": "nonsense"}, "email"),
        ({"email": "a@b.c\x00"}, "email"),
        ({"external_id": " "}, "externalId"),
        ({"external_id": "a\x00"}, "externalId"),
        ({"external_id": "x" * 513}, "externalId"),
        ({"external_id": "ada", "anonymous_id": ""}, "anonymousId"),
    ],
)
async def test_names_the_key_that_is_wrong(people: People, keys: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        await people(**keys)
    assert raised.value.field == field
    assert await people.live() == 0


async def test_a_contact_that_exists_costs_four_statements(people: People) -> None:
    await people("ada", "ada@example.com")
    with statements(people.database) as seen:
        await people("ada", "ada@example.com", properties={"plan": "pro"})
    assert len(seen) <= 4


async def test_one_contact_when_fifty_arrive_at_once(people: People) -> None:
    async def arrive(n: int) -> Resolved:
        return await people("ada" if n % 3 else None, "ada@example.com", properties={f"p{n}": n})

    arrived = await asyncio.gather(*(arrive(n) for n in range(50)))
    assert sum(one.created for one in arrived) == 1
    assert len({one.contact["id"] for one in arrived}) == 1
    found = await people("ada")
    assert found.contact["properties"] == {f"p{n}": n for n in range(50)}


async def test_merges_that_cross_each_other_end_in_one_contact(people: People) -> None:
    """Every pair of twelve keys is named at once, in both directions: no deadlock, nobody lost."""
    for n in range(6):
        await people(f"user{n}", f"user{n}@example.com", anonymous_id=f"device{n}")
    pairs = [(n, m) for n in range(6) for m in range(6) if n != m]
    await asyncio.gather(*(people(f"user{n}", f"user{m}@example.com") for n, m in pairs))
    assert await people.live() == 1
    owners = {await people.id_of(external_id=f"user{n}") for n in range(6)}
    owners |= {await people.id_of(email=f"user{n}@example.com") for n in range(6)}
    assert len(owners) == 1
    async with people.database.read() as conn:
        own = (await conn.execute(select(contacts).where(contacts.c.deleted_at.is_(None)))).one()
        aliases = (await conn.execute(select(contact_aliases.c.contact_id))).scalars().all()
    assert set(aliases) == {own.id}
