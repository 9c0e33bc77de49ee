"""The ledger as GraphQL shows it."""

from hogsend.schema.decisions.enums import Kind, Reason
from hogsend.schema.decisions.types import Decision, DecisionFilter, DecisionQuery

__all__ = ["Decision", "DecisionFilter", "DecisionQuery", "Kind", "Reason"]
