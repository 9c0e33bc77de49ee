"""The direction of lists that can be sorted."""

from __future__ import annotations

from enum import Enum

from hogsend.graphql.enums import described_enum


class SortOrder(Enum):
    ASC = "asc"
    DESC = "desc"


described_enum(
    SortOrder,
    "SortOrder",
    "Which way a list runs. Entries without a value come last either way.",
    {SortOrder.ASC: "Lowest or oldest first.", SortOrder.DESC: "Highest or newest first."},
)
