"""Kinds and reasons of decisions as GraphQL enums. Import them from here: whoever imports one first names it."""

from hogsend.decisions.meanings import KINDS, REASONS
from hogsend.decisions.reasons import DecisionKind, Reason
from hogsend.graphql.enums import described_enum

described_enum(DecisionKind, "DecisionKind", "Kind of a decision: what was decided.", KINDS)
described_enum(Reason, "DecisionReason", "Reason of a decision: why it was decided.", REASONS)

__all__ = ["DecisionKind", "Reason"]
