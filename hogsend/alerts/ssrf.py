"""SSRF guard of alert webhooks: they may go to the public internet, never into our own network.

`verdict` is the one judge of a URL: when it is saved, for the sake of whoever typed it, and again when it is used,
because a name can be pointed elsewhere later. The addresses that it returns are the only ones to connect to.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from hogsend.settings import Settings

IPAddress = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[IPAddress]]]

RESOLVE_SECONDS = 3.0
LONGEST_URL = 2_000
# Below it are the ports of mail, names and logins, which an alert has no business with.
LOWEST_PORT = 1024
_DEFAULT_PORTS = {"https": 443, "http": 80}

# As it goes to the resolver. A space, a percent sign or a dot at the end would name another way what is refused.
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)

# IANA's registry of special addresses, whole, because `ipaddress` knows it by the version of Python.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        # Public by its number, and yet a machine's own cloud: Azure's wire server answers with its secrets.
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# All of IPv6 that is given to anyone; what lies outside is special, or nobody's.
_UNICAST_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        # Protocols' own, with Teredo, benchmarks and ORCHID.
        "2001::/23",
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
# The low half of an interface that stands for an IPv4 address, with either of its flags.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


class Forbidden(Exception):
    """The URL must not be used. `reason` completes the sentence "the URL …", without quoting it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unresolved(Exception):
    """No address was found for the host."""


@dataclass(frozen=True)
class Policy:
    """What the operator lets through, for development: plain http, and private addresses."""

    allow_http: bool = False
    allow_private: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        return cls(settings.allow_http_targets, settings.alert_private_targets)


@dataclass(frozen=True)
class Target:
    """A URL that may be used, with the addresses that it led to when it was judged."""

    url: httpx.URL
    addresses: Sequence[IPAddress]


async def resolve(host: str, port: int) -> Sequence[IPAddress]:
    """Every address of `host`, by the system's resolver. Raises `Unresolved`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unresolved(type(error).__name__) from error
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


async def verdict(text: str, policy: Policy, *, resolve: Resolve = resolve) -> Target:
    """Where the URL leads, if it may be used. Asks the resolver: hold no lock.

    Raises `Forbidden` where the URL, or any of its addresses, is not allowed; `Unresolved` where it leads nowhere.
    """
    url = _parse(text, policy)
    found = await resolve(url.host, url.port or _DEFAULT_PORTS[url.scheme])
    if not found:
        raise Unresolved("no address")
    if not policy.allow_private and any(not is_public(address) for address in found):
        raise Forbidden("must not lead into a private network")
    return Target(url, found)


def _parse(text: str, policy: Policy) -> httpx.URL:
    schemes = ("https", "http") if policy.allow_http else ("https",)
    wanted = " or ".join(schemes)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise Forbidden(f"must be an {wanted} URL") from None
    if len(text) > LONGEST_URL or text != text.strip() or url.scheme not in schemes or not url.host:
        raise Forbidden(f"must be an {wanted} URL of at most {LONGEST_URL} characters")
    # httpx leaves out the port that the scheme stands for.
    if url.port is not None and not LOWEST_PORT <= url.port < 65_536:
        raise Forbidden(f"must have the port of its scheme, or one from {LOWEST_PORT} to 65535")
    if ":" not in url.host and not _HOST.fullmatch(url.raw_host.decode("ascii", "replace")):
        raise Forbidden(
            "must name its host by letters, digits and hyphens between dots, without one at its end"
        )
    if url.userinfo:
        raise Forbidden("must not hold a user or password")
    return url


def is_public(address: IPAddress) -> bool:
    """Whether a machine of ours can safely be made to connect to it, an IPv4 address inside an IPv6 one too."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _SPECIAL_V4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    # NAT64 and addresses that only look like IPv4 ones lie outside, whatever they carry.
    if address not in _UNICAST_V6 or any(address in network for network in _SPECIAL_V6):
        return False
    carried = address.sixtofour or _of_isatap(address)
    return is_public(carried) if carried is not None else address.is_global


def _of_isatap(address: IPv6Address) -> IPv4Address | None:
    low = int(address) & 0xFFFF_FFFF_FFFF_FFFF
    return IPv4Address(low & 0xFFFF_FFFF) if low >> 32 in _ISATAP else None
