"""Lists of decisions: the ledger."""

from __future__ import annotations

from hogsend.contacts.lookup import id_of
from hogsend.storage.collections import Collection, between, equals
from hogsend.tables.decisions import decisions

_d = decisions.c

DECISIONS = Collection.of(
    "decisions",
    "decision",
    decisions,
    sorts={"at": _d.at, "recorded": _d.seq},
    filters={
        **equals(_d.journey_id),
        **between(_d.at),
        "user_id": lambda ref: _d.contact_id == id_of(ref),
        "kinds": lambda kinds: _d.kind.in_(kinds),
        "reasons": lambda reasons: _d.reason.in_(reasons),
    },
)
