"""Waves: which events of a batch may be taken in together, as if they had come one after the other. Pure.

Within a wave everything of one table is written at once, so no event of it may depend on what another one brings about.
Two events of one person are independent where neither changes what the other is judged by: see `_Wave`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hogsend.contacts.identity_keys import Keys, key_subject
from hogsend.ingestion.pipeline import Incoming
from hogsend.journeys.registry import Registry

MOST_IN_A_WAVE = 200
# How far ahead a wave looks for what joins it.
_LOOKS_AT = 2 * MOST_IN_A_WAVE


def next_wave(registry: Registry, waiting: Sequence[Incoming]) -> tuple[list[Incoming], list[Incoming]]:
    """The events that go now, and those that are put off, both in order. The first one always goes."""
    wave = _Wave(registry)
    put_off = [one for one in waiting[:_LOOKS_AT] if not wave.joins(one)]
    return wave.events, [*put_off, *waiting[_LOOKS_AT:]]


class _Wave:
    """A wave that is being filled.

    Several events of one person join under the same keys. Only the first may say something of the person or end a run;
    none comes behind one that may start a run, or end one. Whoever shares a key with one that was put off is put off
    too: one person's events, and one idempotency key's, keep their order.
    """

    def __init__(self, registry: Registry) -> None:
        self.events: list[Incoming] = []
        self._starting = registry.listening_to
        self._ending = {trigger.event for journey in registry.all() for trigger in journey.exit_on}
        self._people: dict[str, Keys] = {}
        self._closed: set[str] = set()

    def joins(self, one: Incoming) -> bool:
        """Whether it does; else it closes what it shares."""
        person = [key_subject(kind, value) for kind, value in one.keys]
        shared = [*person, *(f"idempotency:{key}" for key in one.claim())]
        if len(self.events) >= MOST_IN_A_WAVE or not self._fits(one, person, shared):
            self._closed.update(shared)
            return False
        self.events.append(one)
        self._people.update(dict.fromkeys(person, one.keys))
        if one.event.name in self._ending or self._starting(one.event.name):
            self._closed.update(person)
        return True

    def _fits(self, one: Incoming, person: Sequence[str], shared: Sequence[str]) -> bool:
        if not self._closed.isdisjoint(shared):
            return False
        before = {self._people.get(name) for name in person} - {None}
        if not before:
            return True
        return (
            before == {one.keys} and not one.event.contact_properties and one.event.name not in self._ending
        )
