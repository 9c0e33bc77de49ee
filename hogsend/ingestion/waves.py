"""Waves: which events of a batch may be taken in together, as if they had come one after the other. Pure.

Within a wave everything of one table is written at once, so no event of it may depend on what another one brings about.
Two events of one person are independent where neither changes what the other is judged by: see `_Wave`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from hogsend.contacts.identity_keys import Keys
from hogsend.ingestion.pipeline import Incoming
from hogsend.journeys.registry import Registry

MOST_IN_A_WAVE = 200
# How far ahead a wave looks for what joins it.
_LOOKS_AT = 2 * MOST_IN_A_WAVE


class People:
    """Whose events are whose, as far as keys tell: whoever shares a key, directly or through others, may be one person.

    `known` are sets of keys that lead to one contact already.
    """

    def __init__(self, events: Iterable[Incoming], known: Iterable[Collection[str]] = ()) -> None:
        self._leads_to: dict[str, str] = {}
        for names in (*(one.keys.subjects() for one in events), *known):
            first, *others = names
            for other in others:
                self._leads_to[self._end_of(first)] = self._end_of(other)

    def of(self, one: Incoming) -> str:
        """A name for whoever the event is of."""
        return self._end_of(one.keys.subjects()[0])

    def _end_of(self, name: str) -> str:
        while (further := self._leads_to.get(name, name)) != name:
            name = further
        return name


def next_wave(
    registry: Registry, waiting: Sequence[Incoming], people: People
) -> tuple[list[Incoming], list[Incoming]]:
    """The events that go now, and those that are put off, both in order. The first one always goes."""
    wave = _Wave(registry, people)
    put_off = [one for one in waiting[:_LOOKS_AT] if not wave.joins(one)]
    return wave.events, [*put_off, *waiting[_LOOKS_AT:]]


class _Wave:
    """A wave that is being filled.

    Several events of one person join under the same keys. Only the first may say something of the person or end a run;
    none comes behind one that may start a run, or end one. Where one is put off, so is whoever comes behind it and is
    the same person or has the same idempotency key: these keep their order.
    """

    def __init__(self, registry: Registry, people: People) -> None:
        self.events: list[Incoming] = []
        self._people = people
        self._starting = registry.listening_to
        self._ending = {trigger.event for journey in registry.all() for trigger in journey.exit_on}
        self._joined: dict[str, Keys] = {}
        self._closed: set[str] = set()

    def joins(self, one: Incoming) -> bool:
        """Whether it does; else it closes what it shares."""
        person = self._people.of(one)
        shared = {person, *(f"idempotency:{key}" for key in one.claim())}
        if len(self.events) >= MOST_IN_A_WAVE or self._closed & shared or not self._fits(one, person):
            self._closed |= shared
            return False
        self.events.append(one)
        self._joined[person] = one.keys
        if one.event.name in self._ending or self._starting(one.event.name):
            self._closed.add(person)
        return True

    def _fits(self, one: Incoming, person: str) -> bool:
        event = one.event
        before = self._joined.get(person)
        plain = not event.contact_properties and event.name not in self._ending
        return before is None or (before == one.keys and plain)
