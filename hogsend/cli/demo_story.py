"""What the demo's people do, and when: plain data, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_FIRST = (
    "Amara Bruno Chiara Dmitri Elif Farah Gus Hana Idris Jonas Keiko Lena Mateo Nadia Omar Priya Quinn "
    "Rosa Sven Tariq Uma Viktor Wanda Xenia Yusuf Zoe"
).split()
_LAST = (
    "Abadi Bauer Costa Duarte Eriksen Fontaine Garcia Haddad Ito Jansen Kovacs Lindqvist Moreau Novak "
    "Okafor Petrov Rossi Sato Tanaka Umarov Vargas Weber Yilmaz Zhang"
).split()
_PLANS = ("starter", "team", "business")
_SOURCES = ("search", "friend", "newsletter", "conference")


@dataclass(frozen=True)
class DemoPerson:
    """Someone who signs up."""

    user_id: str
    email: str
    first_name: str


@dataclass(frozen=True)
class DemoEvent:
    """Something a person does, `day` days after the story began."""

    day: float
    person: DemoPerson
    event: str
    properties: dict[str, Any] = field(default_factory=dict)
    contact: dict[str, Any] = field(default_factory=dict)


ADA = DemoPerson("ada", "ada@example.com", "Ada")


def story(people: int, seed: int) -> list[DemoEvent]:
    """What `people` persons do, in order of time. Ada comes first, and everything happens to her."""
    rng = random.Random(seed)
    moments = list(_ada())
    for number in range(1, people):
        moments.extend(_life(rng, _person(rng, number), number * 0.2 + rng.uniform(0, 0.15)))
    return sorted(moments, key=lambda moment: moment.day)


def _ada() -> Iterator[DemoEvent]:
    bill = {"invoice": "INV-1001", "amount": 29.0}
    yield DemoEvent(0, ADA, "user.signed_up", {"source": "friend"}, {"first_name": "Ada", "plan": "trial"})
    yield DemoEvent(0.1, ADA, "trial.started", {"plan": "team"})
    yield DemoEvent(0.9, ADA, "project.created", {"project": "Analytical Engine"})
    yield DemoEvent(4.5, ADA, "subscription.created", {"plan": "team"}, {"plan": "team"})
    yield DemoEvent(6, ADA, "payment.failed", bill)
    yield DemoEvent(9.6, ADA, "payment.succeeded", bill)


def _person(rng: random.Random, number: int) -> DemoPerson:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    tag = f"{rng.getrandbits(24):06x}"
    # The inbox of development rejects mail to such addresses, or reports it as spam, as its provider says.
    trouble = {7: "bounce.", 13: "complain."}.get(number % 17, "")
    email = f"{trouble}{first}.{last}.{tag[:3]}@example.com".lower()
    return DemoPerson(f"user_{tag}", email, first)


def _life(rng: random.Random, person: DemoPerson, start: float) -> Iterator[DemoEvent]:
    contact = {"first_name": person.first_name, "plan": "trial"}
    yield DemoEvent(start, person, "user.signed_up", {"source": rng.choice(_SOURCES)}, contact)
    plan = rng.choice(_PLANS)
    if rng.random() < 0.8:
        yield DemoEvent(start + 0.05, person, "trial.started", {"plan": plan})
    if rng.random() < 0.6:
        for made in range(rng.randint(1, 3)):
            day = start + rng.uniform(0.2, 1.6) + made
            yield DemoEvent(day, person, "project.created", {"project": f"Project {made + 1}"})
    if rng.random() < 0.5:
        day = start + rng.uniform(3, 13.5)
        yield DemoEvent(day, person, "subscription.created", {"plan": plan}, {"plan": plan})
        if rng.random() < 0.4:
            yield from _bill(rng, person, day + rng.uniform(0.5, 2))


def _bill(rng: random.Random, person: DemoPerson, day: float) -> Iterator[DemoEvent]:
    """A payment that fails, and comes through after a while or never."""
    bill = {"invoice": f"INV-{rng.randint(1002, 9999)}", "amount": float(rng.choice((9, 29, 99)))}
    yield DemoEvent(day, person, "payment.failed", bill)
    if rng.random() < 0.7:
        yield DemoEvent(day + rng.uniform(0.5, 7), person, "payment.succeeded", bill)
