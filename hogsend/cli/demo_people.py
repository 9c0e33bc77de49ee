"""The demo: people who sign up, work, pay and read their mail, through the public API alone."""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import Any
from uuid import uuid4

import httpx

from hogsend.cli.demo_story import DemoEvent, story
from hogsend.cli.problem import Problem
from hogsend.cli.terminal import out

_PATIENCE = 60.0
_OPENS, _CLICKS = 0.7, 0.5
_PIXEL = re.compile(r'<img[^>]+src="[^"]*(/v1/t/o/[^"?]+)')
_RULES = "/v1/admin/alerts/rules"
_RULE: dict[str, Any] = {
    "name": "Too many bounces",
    "type": "bounce_rate_exceeded",
    "threshold": 0.01,
    "channel": "email",
    "channelConfig": {"to": "ops@example.com"},
}
_LINK = re.compile(r'href="[^"]*(/v1/t/c/[^"?]+)')


async def play(base: str, key: str, people: int, day: float) -> None:
    """Let so many people come; a day of theirs takes `day` seconds of real time."""
    moments = story(people, random.randrange(2**32))
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30, trust_env=False) as client:
        await watch_bounces(client)
        reader = asyncio.create_task(_read_mail(client))
        began = time.monotonic()
        for moment in moments:
            await asyncio.sleep(began + moment.day * day - time.monotonic())
            await send(client, moment)
            if reader.done():
                reader.result()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    out.print(f"All {len({moment.person for moment in moments})} people have come. For more: hogsend demo")


async def watch_bounces(client: httpx.AsyncClient) -> None:
    """Make one alert rule, so that there is something to see: some of these people's addresses bounce.

    Where it is made already, or the key may not make one, nothing happens.
    """
    rules = await _patiently(client, "GET", _RULES)
    if rules.status_code != 200 or any(rule["name"] == _RULE["name"] for rule in rules.json()["rules"]):
        return
    made = await _patiently(client, "POST", _RULES, json=_RULE)
    if made.status_code == 201:
        out.print(f"An alert rule watches for bounces: it will write to {_RULE['channelConfig']['to']}")


async def send(client: httpx.AsyncClient, moment: DemoEvent) -> None:
    """Post one event, again while Hogsend is away: its key makes it one event however often it arrives."""
    body = {
        "name": moment.event,
        "userId": moment.person.user_id,
        "email": moment.person.email,
        "eventProperties": moment.properties,
        "contactProperties": moment.contact,
        "idempotencyKey": str(uuid4()),
    }
    answer = await _patiently(client, "POST", "/v1/events", json=body)
    if answer.status_code != 202:
        raise Problem(f"{client.base_url} did not take an event: {answer.status_code} {answer.text[:200]}")
    out.print(f"{moment.person.email}  {moment.event}")


async def _patiently(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> httpx.Response:
    """The answer, once there is one that does not ask to come again later. Raises `Problem` after a minute."""
    deadline = time.monotonic() + _PATIENCE
    trouble = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = await client.request(method, path, **request)
        except httpx.TransportError as error:
            trouble = type(error).__name__
            await asyncio.sleep(0.5)
            continue
        if answer.status_code != 429 and answer.status_code < 500:
            return answer
        trouble = str(answer.status_code)
        await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
    raise Problem(f"Cannot reach Hogsend at {client.base_url} ({trouble}). Is it running?")


async def _read_mail(client: httpx.AsyncClient) -> None:
    """Open and click what arrives in the inbox of development, as some readers would."""
    seen = {message["id"] for message in await inbox(client)}
    while True:
        await asyncio.sleep(1)
        for message in await inbox(client):
            if message["id"] in seen:
                continue
            seen.add(message["id"])
            await read(client, message)


async def inbox(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The newest messages in the inbox of development; none where there is no such inbox."""
    answer = await _patiently(client, "GET", "/dev/inbox", params={"format": "json", "limit": "20"})
    if answer.status_code != 200:
        return []
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


async def read(
    client: httpx.AsyncClient, message: dict[str, Any], opens: float = _OPENS, clicks: float = _CLICKS
) -> None:
    """Open a message and click its first link, each with a probability. Mail that bounced is never read."""
    pixel = _PIXEL.search(message["html"])
    links = _LINK.findall(message["html"])
    if pixel is None or message["to"].startswith("bounce") or random.random() >= opens:
        return
    await _patiently(client, "GET", pixel[1])
    out.print(f"{message['to']}  opened “{message['subject']}”")
    if links and random.random() < clicks:
        await _patiently(client, "GET", links[0], follow_redirects=False)
        out.print(f"{message['to']}  clicked in “{message['subject']}”")
