"""A server of its own thread, for clients that are not async."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from hogsend.app import create_app
from hogsend.settings import Settings
from tests.conftest import ADMIN_KEY


class _Quiet(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are pytest's."""


@pytest.fixture(scope="module")
def served(database_url: str, redis_url: str) -> Iterator[str]:
    """The base URL of an application with a runtime of its own, on this worker's database."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        admin_api_key=ADMIN_KEY,
        secret_key="test-secret-key-that-is-long-enough",
        email_provider="memory",
        public_url="http://hogsend.test",
        rate_limit=10_000_000,
        ingest_rate_limit=10_000_000,
        alert_private_targets=False,
        allow_http_targets=False,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=2)
        server = _Quiet(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        started = threading.Event()
        while not server.started and thread.is_alive():
            started.wait(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()
