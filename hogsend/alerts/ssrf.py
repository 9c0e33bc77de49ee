"""SSRF guard of alert webhooks: they may go to the public internet, never into our own network.

A URL is checked when it is saved, for the sake of whoever typed it, and again when it is used, because a name can
be pointed elsewhere later. The address that was checked is the one that is connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

IPAddress = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[IPAddress]]]

RESOLVE_SECONDS = 3.0
LONGEST_URL = 2_000

# Public by their numbers, and yet a machine's own cloud: Azure's wire server answers with its secrets.
_CLOUD = frozenset({IPv4Address("168.63.129.16")})
# IPv6 addresses that carry an IPv4 address to whoever translates them: NAT64, also with a local prefix.
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")


class Forbidden(Exception):
    """The URL must not be used. `reason` completes the sentence "the URL …", without quoting it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unresolved(Exception):
    """No address was found for the host."""


async def resolve(host: str, port: int) -> Sequence[IPAddress]:
    """Every address of `host`, by the system's resolver. Raises `Unresolved`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unresolved(type(error).__name__) from error
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def parse(text: str, schemes: Sequence[str]) -> httpx.URL:
    """The URL, where it is one of `schemes` and names a host and no user. Raises `Forbidden`."""
    wanted = " or ".join(schemes)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise Forbidden(f"must be an {wanted} URL") from None
    if len(text) > LONGEST_URL or text != text.strip() or url.scheme not in schemes or not url.host:
        raise Forbidden(f"must be an {wanted} URL of at most {LONGEST_URL} characters")
    if url.port is not None and not 0 < url.port < 65_536:
        raise Forbidden("must have a port from 1 to 65535")
    if url.userinfo:
        raise Forbidden("must not hold a user or password")
    return url


async def addresses(
    url: httpx.URL, *, allow_private: bool, resolve: Resolve = resolve
) -> Sequence[IPAddress]:
    """Where `url` leads. Raises `Forbidden` where any of it is not public, `Unresolved` where it leads nowhere."""
    found = await resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
    if not found:
        raise Unresolved("no address")
    if not allow_private and any(not is_public(address) for address in found):
        raise Forbidden("must not lead into a private network")
    return found


def is_public(address: IPAddress) -> bool:
    """Whether a machine of ours can safely be made to connect to it, an IPv4 address inside an IPv6 one too."""
    if isinstance(address, IPv6Address):
        inner = _carried(address)
        if inner is not None:
            return is_public(inner)
        if any(address in network for network in _TRANSLATED):
            return False
    public = address.is_global and not (address.is_multicast or address.is_reserved or address.is_private)
    return public and address not in _CLOUD


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, where a stack or a relay would take it so."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
