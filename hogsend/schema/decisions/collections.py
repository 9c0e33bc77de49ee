"""Read the ledger."""

from __future__ import annotations

from hogsend.contacts.lookup import id_of
from hogsend.storage.collections import Collection, Sort
from hogsend.tables.decisions import decisions

_d = decisions.c

DECISIONS = Collection(
    "decisions",
    "decision",
    columns=tuple(decisions.c),
    key=_d.id,
    sorts={"at": Sort(_d.at), "recorded": Sort(_d.seq)},
    filters={
        "journey_id": lambda journey_id: _d.journey_id == journey_id,
        "user_id": lambda ref: _d.contact_id == id_of(ref),
        "kinds": lambda kinds: _d.kind.in_(kinds),
        "reasons": lambda reasons: _d.reason.in_(reasons),
        "from_": lambda instant: _d.at >= instant,
        "to": lambda instant: _d.at <= instant,
    },
)
