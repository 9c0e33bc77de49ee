"""Authentication: an `Authorization` header becomes a caller."""

from __future__ import annotations

import hmac

import structlog
from sqlalchemy.exc import SQLAlchemyError

from hogsend.access.caller import THE_ADMIN_KEY, Caller
from hogsend.access.errors import AccessError, KeyExpired, NotConfigured, Unauthorized
from hogsend.access.failed_attempts import FailedAttempts
from hogsend.access.keys import KeyRing
from hogsend.runtime import Runtime

log = structlog.get_logger(__name__)

RECHECK_SECONDS = 1.0


async def authenticate(runtime: Runtime, authorization: str | None, address: str | None = None) -> Caller:
    """The caller that `Bearer <key>` stands for; failures count against `address`.

    Raises `Unauthorized`, `KeyExpired`, `NotConfigured`, or `RateLimited` where the address failed too often.
    A key that was revoked on another process is
    refused at once, within two seconds where Redis is down.
    """
    keys = runtime.part(KeyRing)
    admin_key = runtime.settings.admin_api_key
    if admin_key is None and not await keys.any_exists():
        raise NotConfigured
    attempts = runtime.part(FailedAttempts)
    try:
        key = _bearer(authorization)
        if admin_key is not None and _same(key, admin_key.get_secret_value()):
            return THE_ADMIN_KEY
        if not keys.was_good(key):
            await attempts.check(address)
        found = await keys.find(key)
        if found is None or found.revoked:
            raise Unauthorized
        if found.expires_at is not None and found.expires_at <= runtime.clock.wall():
            raise KeyExpired
    except (Unauthorized, KeyExpired):
        await attempts.note(address)
        raise
    return Caller(found.name, found.scopes, found.id)


async def until_refused(runtime: Runtime, authorization: str | None) -> AccessError:
    """Return the refusal when a key that was let in is let in no more. For whoever holds a stream open."""
    keys = runtime.part(KeyRing)
    while True:
        await keys.wait_changed(RECHECK_SECONDS)
        try:
            await authenticate(runtime, authorization)
        except AccessError as refusal:
            return refusal
        except (SQLAlchemyError, OSError) as error:
            # Nobody is thrown out because the database is away; the next look decides.
            log.warning("stream_key_not_checked", error=type(error).__name__)


def _bearer(authorization: str | None) -> str:
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise Unauthorized
    return key


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )
