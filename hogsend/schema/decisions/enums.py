"""Kinds and reasons as GraphQL enums. Import them from here: who names one first decides what it is called."""

from hogsend.decisions.meanings import KINDS, REASONS
from hogsend.decisions.reasons import Kind, Reason
from hogsend.graphql.enums import described_enum

described_enum(Kind, "DecisionKind", "What was decided.", KINDS)
described_enum(Reason, "DecisionReason", "Why it was decided.", REASONS)

__all__ = ["Kind", "Reason"]
