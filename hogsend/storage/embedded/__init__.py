"""A private Postgres and Valkey, run from their wheels: what `hogsend dev` and the tests store things in.

    with EmbeddedStack(state_dir) as stack:
        stack.database_url, stack.redis_url

Everything is blocking; in a coroutine, call `await asyncio.to_thread(stack.start)`.
"""

from hogsend.storage.embedded.errors import EmbeddedError
from hogsend.storage.embedded.home import default_state_dir
from hogsend.storage.embedded.stack import EmbeddedStack

__all__ = ["EmbeddedError", "EmbeddedStack", "default_state_dir"]
