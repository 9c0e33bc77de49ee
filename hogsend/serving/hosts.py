"""Allowed hosts: which names the server answers to.

A page elsewhere can point a name of its own at this address (DNS rebinding), and must get nothing.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from hogsend.settings import Settings

ANY = "*"
_LOCALHOST = "localhost"
_UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104


class AllowedHosts:
    """Loopback names, the host of `public_url`, the address that is listened on, and those of `allowed_hosts`."""

    def __init__(self, settings: Settings) -> None:
        names = {_plain(name) for name in settings.allowed_hosts}
        self._any = ANY in names
        self._under = tuple(name[1:] for name in names if name.startswith("*."))
        public = urlsplit(settings.public_url).hostname
        own = {_plain(name) for name in (public, settings.host) if name and name not in _UNSPECIFIED}
        self._names = names | own

    def allows(self, header: str) -> bool:
        """Whether a `Host` header, with or without a port, is one of ours."""
        if self._any:
            return True
        name = host_of(header)
        return name is not None and (
            is_loopback(name) or name in self._names or name.endswith(self._under or ("\0",))
        )


def host_of(header: str) -> str | None:
    """The name in a `Host` header, without port and brackets; None where it is none."""
    text = header.strip().lower()
    if not text or "@" in text or "/" in text:
        return None
    if text.startswith("["):
        inner, end, port = text[1:].partition("]")
        name, colon, port = inner if end else "", port[:1], port[1:]
    else:
        name, colon, port = text.partition(":")
    if colon not in ("", ":") or not (port.isdecimal() or not port):
        return None
    return _plain(name) or None


def is_loopback(name: str) -> bool:
    """Whether the name always means this machine: nobody else can make it point elsewhere."""
    if name == _LOCALHOST or name.endswith(f".{_LOCALHOST}"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _plain(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".")
