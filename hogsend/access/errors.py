"""Why a caller is turned away: a status and a sentence of the contract."""

from __future__ import annotations

from collections.abc import Mapping

from hogsend.errors import HogsendError


class AccessError(HogsendError):
    """`status` is HTTP's, `message` may be shown, `headers` belong on the response."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Unauthorized(AccessError):
    """No key, a malformed header, an unknown or a revoked key: which of them is not said."""

    def __init__(self) -> None:
        super().__init__(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})


class KeyExpired(AccessError):
    def __init__(self) -> None:
        super().__init__(401, "API key expired", {"WWW-Authenticate": "Bearer"})


class InsufficientScope(AccessError):
    def __init__(self) -> None:
        super().__init__(403, "Insufficient scope")


class NotConfigured(AccessError):
    """No ADMIN_API_KEY is set and no key was ever made."""

    def __init__(self) -> None:
        super().__init__(503, "Admin API is not configured")


class RateLimited(AccessError):
    """`retry_after` is in whole seconds, at least 1."""

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(
            429,
            "Rate limit exceeded",
            {
                "Retry-After": str(retry_after),
                "X-RateLimit-Limit": str(limit),
                "X-RateLimit-Remaining": "0",
            },
        )
        self.retry_after = retry_after
