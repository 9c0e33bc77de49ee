"""The garbage collector of a process that serves: what is there at its start stays, and is not looked through again."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 10_000
"""Objects made before the collector looks at the young ones: an answer of a thousand entries makes as many."""


def keep_what_started() -> None:
    """Leave modules, schema and documents out of every later collection; call it once all of them are there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
