"""Client addresses: where a request comes from, and what counts as one place where addresses are limited."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from starlette.requests import HTTPConnection

IPV6_PREFIX = 64


def address_of(connection: HTTPConnection) -> str | None:
    """Where a request or a socket comes from; behind a proxy that is trusted, what the proxy says."""
    return connection.client.host if connection.client else None


def trusted_proxies(environ: Mapping[str, str]) -> str:
    """Whose `X-Forwarded-For` is believed: addresses and networks, separated by commas. Nobody's unless it is set.

    uvicorn by itself believes whoever is on this machine. Of what a trusted proxy hands on, the last address that is
    not a trusted one counts: those before it are the client's own words.
    """
    return environ.get("FORWARDED_ALLOW_IPS", "").strip()


def network_of(address: str | None) -> str:
    """An IPv4 address itself, the /64 of an IPv6 one: who has one address of such a network has all of them."""
    try:
        known = ip_address(address or "")
    except ValueError:
        return address or ""
    return str(known) if known.version == 4 else str(ip_network((known, IPV6_PREFIX), strict=False))
