"""API keys in the database: made, found again, cached for a moment, refused everywhere once revoked."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Row, bindparam, exists, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from hogsend.access.caller import Scope
from hogsend.runtime import Runtime
from hogsend.storage.stopping import stop
from hogsend.tables.access import api_keys

log = structlog.get_logger(__name__)

PREFIX = "hsk_"
REVOKED_CHANNEL = "hogsend:keys:revoked"
REMEMBERED_FOR = timedelta(seconds=2)
MOST_REMEMBERED = 4096
RECONNECT_SECONDS = 0.5
NOTE_USES_SECONDS = 3.0


@dataclass(frozen=True)
class Key:
    """A row of `api_keys`, without its hash. Instants are real time."""

    id: UUID
    name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None
    revoked: bool


def new_key() -> str:
    """A key as it is shown once: `hsk_` and 43 random characters."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The keys this process has seen in the last two seconds, unknown ones too; bounded.

    A revocation is announced on Redis and forgets the key at once; where the announcement is lost, the two
    seconds end it. Finding a key only reads; its use is written down behind, every few seconds for all keys.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seen: OrderedDict[str, tuple[datetime, Key | None]] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Key | None]] = {}
        self._generation = 0
        self._changed = asyncio.Event()
        self._any_key = False
        self._good: OrderedDict[str, None] = OrderedDict()
        self._used: dict[UUID, datetime] = {}
        self.listening = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())
        self._noting = asyncio.create_task(self._note_uses())

    async def find(self, key: str) -> Key | None:
        """The key's row as it was at most two seconds ago, or None where it is unknown."""
        if not key.startswith(PREFIX) or len(key) > 200:
            return None
        key_hash = hash_key(key)
        remembered = self._seen.get(key_hash)
        if remembered is not None and self._runtime.clock.wall() < remembered[0]:
            return remembered[1]
        task = self._loading.get(key_hash)
        if task is None:
            task = asyncio.create_task(self._load(key_hash))
            self._loading[key_hash] = task
            task.add_done_callback(lambda done: self._loaded(key_hash, done))
        return await asyncio.shield(task)

    def was_good(self, key: str) -> bool:
        """Whether this process let the key in before; it may be revoked by now."""
        return len(key) <= 200 and hash_key(key) in self._good

    async def any_exists(self) -> bool:
        """Whether a key was ever made."""
        if not self._any_key:
            async with self._runtime.database.read() as conn:
                self._any_key = bool((await conn.execute(select(exists().select_from(api_keys)))).scalar())
        return self._any_key

    async def announce_revoked(self, key_id: UUID) -> None:
        """Tell every process that a revocation has committed; with Redis down they find out in 2 s."""
        self._forget(key_id)
        try:
            await self._runtime.redis.publish(REVOKED_CHANNEL, str(key_id))
        except (RedisError, OSError) as error:
            log.warning("revocation_not_announced", key_id=str(key_id), error=type(error).__name__)

    async def wait_changed(self, timeout: float) -> None:
        """Return when a key may have been revoked, or after `timeout` seconds of real time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    async def close(self) -> None:
        await stop(self._listener, self._noting, *self._loading.values())
        with suppress(SQLAlchemyError, OSError):
            await self.write_uses()

    def _loaded(self, key_hash: str, task: asyncio.Task[Key | None]) -> None:
        if self._loading.get(key_hash) is task:
            del self._loading[key_hash]
        if not task.cancelled():
            task.exception()

    async def _load(self, key_hash: str) -> Key | None:
        generation = self._generation
        wall = self._runtime.clock.wall()
        key = await self._read(key_hash, wall)
        # A row that was read before a revocation was announced may still show the key as good.
        if generation == self._generation:
            self._seen[key_hash] = (wall + REMEMBERED_FOR, key)
            self._seen.move_to_end(key_hash)
            while len(self._seen) > MOST_REMEMBERED:
                self._seen.popitem(last=False)
        return key

    async def _read(self, key_hash: str, wall: datetime) -> Key | None:
        columns = api_keys.c
        fields = (columns.id, columns.name, columns.scopes, columns.expires_at, columns.revoked_at)
        async with self._runtime.database.read() as conn:
            row = (await conn.execute(select(*fields).where(columns.key_hash == key_hash))).one_or_none()
        if row is None:
            return None
        key = _key(row)
        if not key.revoked and (key.expires_at is None or key.expires_at > wall):
            self._used[key.id] = wall
            self._good[key_hash] = None
            self._good.move_to_end(key_hash)
            if len(self._good) > MOST_REMEMBERED:
                self._good.popitem(last=False)
        return key

    async def _note_uses(self) -> None:
        while True:
            await asyncio.sleep(NOTE_USES_SECONDS)
            try:
                await self.write_uses()
            except (SQLAlchemyError, OSError) as error:
                log.warning("key_uses_not_noted", error=type(error).__name__)

    async def write_uses(self) -> None:
        """Write down when keys were used last. One statement for all; what cannot be written is kept for later."""
        used, self._used = self._used, {}
        if not used:
            return
        columns = api_keys.c
        noted = (
            update(api_keys)
            .where(columns.id == bindparam("key"))
            .values(last_used_at=func.greatest(columns.last_used_at, bindparam("at")))
        )
        try:
            async with self._runtime.database.transaction() as conn:
                await conn.execute(noted, [{"key": key_id, "at": at} for key_id, at in used.items()])
        except BaseException:
            self._used = used | self._used
            raise

    async def _listen(self) -> None:
        while True:
            try:
                async with self._runtime.redis.pubsub() as pubsub:
                    await pubsub.subscribe(REVOKED_CHANNEL)
                    while True:
                        message = await pubsub.get_message(timeout=5)
                        if message is not None and message["type"] == "subscribe":
                            self._forget(None)
                            self.listening.set()
                        elif message is not None and message["type"] == "message":
                            self._forget(UUID(message["data"].decode()))
            except (RedisError, OSError, ValueError) as error:
                self.listening.clear()
                log.warning("revocations_not_heard", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    def _forget(self, key_id: UUID | None) -> None:
        """Forget one key, or all of them: after a reconnect nobody knows what was announced meanwhile."""
        self._generation += 1
        self._loading.clear()
        for key_hash, (_, key) in list(self._seen.items()):
            if key_id is None or (key is not None and key.id == key_id):
                del self._seen[key_hash]
        self._changed.set()
        self._changed = asyncio.Event()


def _key(row: Row[UUID, str, list[str], datetime | None, datetime | None]) -> Key:
    return Key(
        id=row[0],
        name=row[1],
        scopes=frozenset(Scope(scope) for scope in row[2]),
        expires_at=row[3],
        revoked=row[4] is not None,
    )
