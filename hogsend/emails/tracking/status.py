"""The status of a send: a table of the edges it may climb. Facts come in any order; the status never goes down."""

from __future__ import annotations

from hogsend.tables.emails import STATUSES

_AFTER_THE_WIRE = frozenset({"delivered", "opened", "clicked", "bounced", "complained"})

CLIMBS: dict[str, frozenset[str]] = {
    "queued": frozenset({"rendered", "sent", "failed"}) | _AFTER_THE_WIRE,
    "rendered": frozenset({"sent", "failed"}) | _AFTER_THE_WIRE,
    # A provider can take a message and then fail to send it on.
    "sent": frozenset({"failed"}) | _AFTER_THE_WIRE,
    # We gave up without an answer, or the provider reported a failure early: what reached a mailbox was sent.
    "failed": _AFTER_THE_WIRE,
    # A mailbox's server can take a message, and reject it later.
    "delivered": frozenset({"opened", "clicked", "bounced", "complained"}),
    # A scanner opens links before the mailbox rejects the message.
    "opened": frozenset({"clicked", "bounced", "complained"}),
    "clicked": frozenset({"bounced", "complained"}),
    # A complaint proves that someone read it, whatever was reported before.
    "bounced": frozenset({"complained"}),
    "complained": frozenset(),
}


def climb(status: str, fact: str) -> str:
    """The status after `fact`: itself, or higher. A fact that is no status (`delivery_delayed`) moves nothing."""
    return fact if fact in CLIMBS[status] else status


assert set(CLIMBS) == set(STATUSES)
