"""Import what a long-lived process stays with, without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """What is made in the block is kept for good: it is neither searched for garbage now nor ever after.

    The collector would look through hundreds of thousands of new objects again and again, for a fifth of the time that
    starting takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
