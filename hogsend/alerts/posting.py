"""Posts of alerts: one request to an address that the SSRF guard has judged, its answer kept as far as it is of use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address

import httpx

from hogsend.alerts import ssrf
from hogsend.engine.jobs import JobFailed

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
LONGEST_SECONDS = 20.0
BODY_SECONDS = 2.0
FIRST_BYTES = 500
GONE = 410
FEW_ATTEMPTS = 5
"""Of what may be a resolver's bad moment, and is most likely a name that is gone."""


class DeliveryFailed(JobFailed):
    """The channel did not take it. `reason` is a sentence for operators; it quotes no URL.

    `receipt` is what the receiver answered, where it did.
    """

    def __init__(
        self, reason: str, receipt: Receipt | None = None, *, most_attempts: int | None = None
    ) -> None:
        super().__init__(reason, most_attempts=most_attempts)
        self.receipt = receipt


@dataclass(frozen=True)
class Receipt:
    """What a receiver answered: the status, and the first bytes of the body as text."""

    status: int
    body: str


async def post(
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: ssrf.Policy,
    resolve: ssrf.Resolve = ssrf.resolve,
) -> Receipt:
    """Post JSON once, within 20 seconds. Raises `DeliveryFailed`, also for an answer that is not a 2xx."""
    try:
        allowed = await ssrf.verdict(target, policy, resolve=resolve)
    except ssrf.Forbidden as error:
        raise DeliveryFailed(f"The URL {error.reason}", most_attempts=FEW_ATTEMPTS) from None
    except ssrf.Unresolved:
        raise DeliveryFailed("The URL's host was not found", most_attempts=FEW_ATTEMPTS) from None
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            receipt = await _answer(allowed, body, headers)
    except TimeoutError:
        raise DeliveryFailed(f"The receiver did not answer within {LONGEST_SECONDS:g} seconds") from None
    except httpx.HTTPError as error:
        raise DeliveryFailed(f"The request failed: {type(error).__name__}") from None
    if not 200 <= receipt.status < 300:
        for_good = 1 if receipt.status == GONE else None
        raise DeliveryFailed(f"The receiver answered {receipt.status}", receipt, most_attempts=for_good)
    return receipt


async def _answer(target: ssrf.Target, body: bytes, headers: Mapping[str, str]) -> Receipt:
    """The answer of the first of the target's addresses that can be connected to."""
    # No redirects and no proxy: either would connect to an address that nobody checked.
    async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
        for address in target.addresses:
            request = _pinned(client, target.url, address, body, headers)
            try:
                response = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            try:
                return Receipt(response.status_code, await _beginning(response))
            finally:
                await response.aclose()
    raise httpx.ConnectError("none of the addresses can be reached")


async def _beginning(response: httpx.Response) -> str:
    """The first bytes as they came, whatever their encoding says: nothing is unpacked.

    The status is the answer: a body that is slow, or breaks off, does not undo it.
    """
    taken = b""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.aiter_raw():
                taken += chunk
                if len(taken) >= FIRST_BYTES:
                    break
    # Postgres keeps no NUL in a text.
    return taken[:FIRST_BYTES].decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _pinned(
    client: httpx.AsyncClient,
    url: httpx.URL,
    address: ssrf.IPAddress,
    body: bytes,
    headers: Mapping[str, str],
) -> httpx.Request:
    """A request to the very address that was checked, which still names the host to its server and to TLS."""
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    return client.build_request(
        "POST",
        url.copy_with(host=host),
        content=body,
        headers={
            **headers,
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "Hogsend",
            "Content-Type": "application/json",
        },
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )
