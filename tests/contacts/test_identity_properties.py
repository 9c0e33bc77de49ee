"""Whatever is said about people, in whatever order: no opt-out, no key and no event of theirs is lost."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from hogsend.clock import ManualClock
from hogsend.consent.inheritance import preferences_of
from hogsend.consent.suppression import unsubscribe
from hogsend.contacts.identity_keys import Keys
from hogsend.contacts.lookup import find_by
from hogsend.contacts.resolve import resolve
from hogsend.storage.database import Database
from hogsend.storage.metadata import new_id
from hogsend.tables.contacts import contacts
from hogsend.tables.events import user_events

NAMES = ("a", "b", "c", "d")
Key = tuple[str, str]


@dataclass(frozen=True)
class Said:
    """One thing that happened: an event with the keys that came with it, or an opt-out by one of them."""

    kind: Literal["event", "unsubscribe"]
    external_id: str | None
    email: str | None
    category: str | None = None

    def named(self) -> list[Key]:
        named = (("external_id", self.external_id), ("email", self.email))
        return [(kind, value) for kind, value in named if value is not None]


def _said() -> st.SearchStrategy[Said]:
    names = st.one_of(st.none(), st.sampled_from(NAMES))
    events = st.builds(Said, st.just("event"), names, names).filter(lambda said: bool(said.named()))
    refusals = st.builds(
        Said, st.just("unsubscribe"), st.none(), st.sampled_from(NAMES), st.sampled_from((None, "x", "y"))
    )
    return st.one_of(events, events, refusals)


@dataclass
class Model:
    """Keys that ever came together are one person; the rest follows."""

    parent: dict[Key, Key] = field(default_factory=dict)
    events: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    refused: dict[Key, set[str | None]] = field(default_factory=lambda: defaultdict(set))

    def person(self, key: Key) -> Key:
        while self.parent.setdefault(key, key) != key:
            key = self.parent[key]
        return key

    def hear(self, keys: list[Key]) -> Key:
        first = self.person(keys[0])
        for key in keys[1:]:
            other = self.person(key)
            if other != first:
                self.parent[other] = first
                self.events[first] += self.events.pop(other, 0)
                self.refused[first] |= self.refused.pop(other, set())
        return first

    def people(self) -> dict[Key, list[Key]]:
        found: dict[Key, list[Key]] = defaultdict(list)
        for key in self.parent:
            found[self.person(key)].append(key)
        return found


class World:
    """The same against the database, under names that no other example has."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.mark = uuid4().hex

    def real(self, key: Key) -> str:
        kind, name = key
        return f"{name}-{self.mark}" if kind == "external_id" else f"{name}@{self.mark}.example"

    async def id_of(self, key: Key) -> UUID | None:
        async with self.database.read() as conn:
            found = await find_by(conn, **{key[0]: self.real(key)})  # type: ignore[arg-type]
        return None if found is None else UUID(str(found["id"]))

    async def hear(self, said: Said) -> None:
        keys: dict[str, Any] = {"external_id": None, "email": None}
        keys |= {kind: self.real((kind, name)) for kind, name in said.named()}
        async with self.database.transaction() as conn:
            contact = (await resolve(conn, self.clock, Keys.of(**keys))).contact
            if said.kind == "unsubscribe":
                await unsubscribe(conn, self.clock, contact["id"], category=said.category, source="test")
                return
            now = self.clock.now()
            event = {"id": new_id(), "occurred_at": now, "received_at": now, "name": "seen"}
            await conn.execute(user_events.insert().values(contact_id=contact["id"], **event))

    async def events_of(self, contact_id: UUID | None) -> int:
        async with self.database.read() as conn:
            query = select(func.count()).where(user_events.c.contact_id == contact_id)
            return int((await conn.execute(query)).scalar_one())

    async def refused_by(self, contact_id: UUID) -> set[str | None]:
        async with self.database.read() as conn:
            said = await preferences_of(conn, contact_id)
        if said is None:
            return set()
        refused: set[str | None] = {name for name, agreed in said["categories"].items() if not agreed}
        return refused | ({None} if said["unsubscribed_all"] else set())


@settings(
    max_examples=int(os.environ.get("HOGSEND_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=st.lists(_said(), min_size=1, max_size=14))
async def test_people_are_what_was_said_about_them(
    database: Database, clock: ManualClock, history: Iterable[Said]
) -> None:
    model, world = Model(), World(database, clock)
    for said in history:
        await world.hear(said)
        person = model.hear(said.named())
        if said.kind == "event":
            model.events[person] += 1
        else:
            model.refused[person].add(said.category)
    ids: set[UUID | None] = set()
    for person, keys in model.people().items():
        owners = {await world.id_of(key) for key in keys}
        assert len(owners) == 1, f"{keys} are one person, and resolve to {owners}"
        (owner,) = owners
        assert owner is not None
        assert await world.events_of(owner) == model.events[person]
        assert await world.refused_by(owner) == model.refused[person]
        ids |= owners
    assert len(ids) == len(model.people())
    async with database.read() as conn:
        mine = contacts.c.email.like(f"%{world.mark}%") | contacts.c.external_id.like(f"%{world.mark}%")
        dead = await conn.execute(
            select(contacts.c.merged_into).where(mine, contacts.c.deleted_at.is_not(None))
        )
        assert set(dead.scalars()) <= ids
