"""Let Hatchet's SDK be heard from `warning` on. Its listening process imports this, and should import no more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hatchet_sdk import ClientConfig


class _QuietLogger(logging.Logger):
    """The SDK listens in a process of its own, and says every task twice. What it unpickles there quiets it."""

    def __reduce__(self) -> tuple[Callable[[], logging.Logger], tuple[()]]:
        return _quiet_logger, ()


def _quiet_logger() -> logging.Logger:
    logging.getLogger("hatchet").setLevel(logging.WARNING)
    return _QuietLogger("hatchet-tasks")


def quiet(config: ClientConfig) -> ClientConfig:
    """Quiet the SDK here and in its listener."""
    sdk = logging.getLogger("hatchet")
    sdk.handlers.clear()
    sdk.propagate = True
    config.logger = _quiet_logger()
    return config
