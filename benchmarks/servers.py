"""A Postgres and a Valkey of a benchmark's own, as durable as in production, and settings that name them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hogsend.settings import Settings
from hogsend.storage.embedded import EmbeddedStack


@contextmanager
def own_servers(*, connections: int) -> Iterator[Settings]:
    """Settings for a pool of so many connections; emails stay in memory. The servers end with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="hogsend-bench-") as folder,
        EmbeddedStack(Path(folder)) as servers,
    ):
        yield Settings(
            database_url=servers.database_url,
            redis_url=servers.redis_url,
            database_pool_size=connections,
            email_provider="memory",
        )
