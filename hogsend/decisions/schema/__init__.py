"""The ledger as GraphQL shows it."""

from hogsend.decisions.schema.decision import Decision, DecisionFilter, DecisionQuery
from hogsend.decisions.schema.enums import Kind, Reason

__all__ = ["Decision", "DecisionFilter", "DecisionQuery", "Kind", "Reason"]
