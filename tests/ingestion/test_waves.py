"""Which events of a batch may go together."""

from __future__ import annotations

import pytest

from hogsend import Context, User, journey
from hogsend.events.event import NewEvent
from hogsend.ingestion.pipeline import Incoming
from hogsend.ingestion.waves import MOST_IN_A_WAVE, People, next_wave
from hogsend.journeys.registry import Registry


@journey(id="greets", trigger="start", exit_on="stop")
async def greets(_user: User, _ctx: Context) -> None:
    return None


def of(name: str, person: str = "ada", key: str | None = None, **properties: object) -> NewEvent:
    return NewEvent(name, external_id=person, idempotency_key=key, contact_properties=properties)


BOTH = NewEvent("seen", external_id="ada", email="ada@example.com")
EMAIL = NewEvent("seen", email="ada@example.com")


@pytest.mark.parametrize(
    ("events", "first_wave"),
    [
        ([of("seen"), of("seen"), of("seen")], [0, 1, 2]),
        ([of("seen"), of("start"), of("seen")], [0, 1]),
        ([of("start"), of("start"), of("start", "bob")], [0, 2]),
        ([of("seen"), of("stop"), of("seen", "bob")], [0, 2]),
        ([of("stop"), of("seen")], [0]),
        ([of("seen", plan="pro"), of("seen"), of("seen", plan="free"), of("seen")], [0, 1]),
        # Keys that may link or merge: whoever shares one comes after.
        ([BOTH, EMAIL, of("seen"), of("seen", "bob")], [0, 3]),
        ([of("seen"), BOTH, EMAIL], [0]),
        # The first of an idempotency key counts, also where it was put off.
        ([of("seen", key="k"), of("seen", "bob", key="k")], [0, 1]),
        ([of("start"), of("seen", key="k"), of("seen", "bob", key="k"), of("seen", "bob")], [0]),
    ],
)
def test_a_wave_holds_what_does_not_depend_on_another(events: list[NewEvent], first_wave: list[int]) -> None:
    waiting = [Incoming(one) for one in events]
    wave, put_off = next_wave(Registry([greets]), waiting, People(waiting))
    assert [waiting.index(one) for one in wave] == first_wave
    assert put_off == [one for one in waiting if one not in wave]


def test_who_is_known_under_two_keys_is_one_person() -> None:
    waiting = [Incoming(one) for one in (of("start"), EMAIL, of("seen"), NewEvent("seen", anonymous_id="d"))]
    known = [{"external:ada", "email:ada@example.com"}]
    wave, _ = next_wave(Registry([greets]), waiting, People(waiting, known))
    assert [waiting.index(one) for one in wave] == [0, 3]


def test_a_wave_is_bounded_and_nothing_is_lost() -> None:
    waiting = [Incoming(of("seen", f"u{number}")) for number in range(3 * MOST_IN_A_WAVE + 7)]
    taken, left, people = [], waiting, People(waiting)
    while left:
        wave, left = next_wave(Registry([greets]), left, people)
        assert len(wave) <= MOST_IN_A_WAVE
        taken += wave
    assert taken == waiting
