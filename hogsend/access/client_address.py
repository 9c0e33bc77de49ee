"""Client addresses: where a request comes from, and what counts as one place where addresses are limited."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from starlette.requests import HTTPConnection

IPV6_PREFIX = 64


def address_of(connection: HTTPConnection) -> str | None:
    """Where a request or a socket comes from; behind a proxy, what the proxy says (uvicorn's forwarded_allow_ips)."""
    return connection.client.host if connection.client else None


def network_of(address: str | None) -> str:
    """An IPv4 address itself, the /64 of an IPv6 one: who has one address of such a network has all of them."""
    try:
        known = ip_address(address or "")
    except ValueError:
        return address or ""
    return str(known) if known.version == 4 else str(ip_network((known, IPV6_PREFIX), strict=False))
