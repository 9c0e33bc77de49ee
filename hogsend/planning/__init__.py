"""Planned reads: a query executed breadth first, one statement a level, from what the schema declares of its fields."""
