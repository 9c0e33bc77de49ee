"""The direction of lists that can be sorted."""

from __future__ import annotations

from hogsend.graphql.enums import WireEnum, wire_enum


@wire_enum("Sort direction. Entries without a value for the sort field come last in either direction.")
class SortOrder(WireEnum):
    ASC = "asc", "Ascending: lowest or oldest first."
    DESC = "desc", "Descending: highest or newest first."
