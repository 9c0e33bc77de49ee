"""A client that reads lists once and keeps them by streams alone, and what it is held to: a fresh read.

`verify_action` takes the lists, lets something happen, and waits until what the streams told has made of the old lists
what a fresh read shows. A cursor that comes twice, or a list that did not change, is an error.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.serving.socket import Socket, open_socket

PATIENCE = 40.0
Node = dict[str, Any]
Rows = dict[str, Node]


@dataclass(frozen=True)
class View:
    """A list, and the stream that keeps it. Both tell the same `fields` of a thing, `at` this path of a message."""

    name: str
    rows: str
    stream: str
    path: tuple[str, ...]
    fields: str
    belongs: Callable[[Node], bool] = lambda node: True

    @property
    def query(self) -> str:
        return (
            f"query ($after: String) {{ rows: {self.rows}(first: 100, after: $after)"
            f" {{ nodes {{ id {self.fields} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        )

    @property
    def subscription(self) -> str:
        node = f"{{ id {self.fields} }}"
        for name in reversed(self.path):
            node = f"{{ {'' if name != self.path[0] else 'cursor '}{name} {node} }}"
        return f"subscription ($after: String) {{ told: {self.stream}(after: $after) {node} }}"

    def node_of(self, message: Node) -> Node | None:
        found: Any = message
        for name in self.path:
            found = found and found[name]
        return found  # type: ignore[no-any-return]


EVENTS = View("events", "events", "eventReceived", ("event",), "name contact { id }")
RUNS = View(
    "runs", "journeyStates", "journeyActivity", ("decision", "state"),
    "journeyId status blocked endedReason currentNodeId completedAt exitedAt",
)  # fmt: skip
DECISIONS = View(
    "decisions", "decisions", "journeyActivity", ("decision",), "kind reason journeyId",
    # What is decided outside any journey is on the contact's timeline.
    belongs=lambda node: node["journeyId"] is not None,
)  # fmt: skip
EMAILS = View(
    "emails", "emails", "emailActivity", ("email",),
    "status toEmail attempts refusal sentAt deliveredAt openedAt clickedAt bouncedAt complainedAt",
)  # fmt: skip
DEAD_LETTERS = View(
    "dead letters", "deadLetters", "deadLetterAdded", ("deadLetter",), "source sourceId error retryCount"
)
AUDIT = View("audit log", "auditLog", "auditLogged", ("entry",), "actor action resource resourceId outcome")
VIEWS = (EVENTS, RUNS, DECISIONS, EMAILS, DEAD_LETTERS, AUDIT)


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    response = await client.post("/graphql", json={"query": query, "variables": variables})
    body = response.json()
    assert "errors" not in body, body
    data: dict[str, Any] = body["data"]
    return data


async def read(client: httpx.AsyncClient, view: View) -> Rows:
    """All of a list, by id."""
    found: Rows = {}
    after = None
    while True:
        page = (await ask(client, view.query, after=after))["rows"]
        found |= {node["id"]: node for node in page["nodes"] if view.belongs(node)}
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


async def receive(socket: Socket, stopping: asyncio.Event) -> Node | None:
    """The next message, however long it takes; None when it is time to stop. A socket is never left half open."""
    stop = asyncio.ensure_future(stopping.wait())
    while True:
        message = asyncio.ensure_future(socket.receive())
        await asyncio.wait({message, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            message.cancel()
            await asyncio.gather(message, return_exceptions=True)
            return None
        if isinstance(message.exception(), TimeoutError) or message.result()["type"] == "ping":
            continue
        stop.cancel()
        return message.result()


@dataclass
class Follower:
    """What one client knows: its lists, and where it is in the stream of each."""

    url: str
    views: tuple[View, ...]
    lists: dict[str, Rows]
    cursors: dict[str, str]
    told: dict[str, list[str]] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def begin(cls, client: httpx.AsyncClient, url: str, views: tuple[View, ...]) -> Follower:
        """Position first, then the lists, as `docs/graphql.md` has it."""
        position = (await ask(client, "{ streamPosition }"))["streamPosition"]
        lists = {view.name: await read(client, view) for view in views}
        return cls(url, views, lists, {view.name: position for view in views})

    async def follow(self, leave_after: Callable[[], int] | None = None) -> None:
        """Until it is stopped; with `leave_after`, on a new socket after so many messages."""
        while not self.stopping.is_set():
            async with open_socket(self.url) as socket:
                await socket.init()
                for view in self.views:
                    await socket.subscribe(view.name, view.subscription, after=self.cursors[view.name])
                left = None if leave_after is None else leave_after()
                while left is None or left > 0:
                    message = await receive(socket, self.stopping)
                    if message is None:
                        return
                    self._apply(message)
                    left = None if left is None else left - 1

    def _apply(self, message: Node) -> None:
        assert message["type"] == "next", message
        view = next(view for view in self.views if view.name == message["id"])
        told = message["payload"]["data"]["told"]
        self.cursors[view.name] = told["cursor"]
        self.told.setdefault(view.name, []).append(told["cursor"])
        node = view.node_of(told)
        if node is not None and view.belongs(node):
            self.lists[view.name][node["id"]] = node


@asynccontextmanager
async def verify_action(
    client: httpx.AsyncClient, url: str, *changed: View, reconnects: random.Random | None = None
) -> AsyncIterator[Follower]:
    """Old lists + what the streams tell of the block = a fresh read, and each of `changed` has changed."""
    follower = await Follower.begin(client, url, VIEWS)
    before = {view.name: dict(follower.lists[view.name]) for view in VIEWS}
    leave_after = None if reconnects is None else lambda: reconnects.randint(1, 12)
    following = asyncio.create_task(follower.follow(leave_after))
    try:
        yield follower
        fresh = {view.name: await read(client, view) for view in VIEWS}
        await comes_to(lambda: follower.lists == fresh, following)
        wrong = {name: differing(rows, fresh[name]) for name, rows in follower.lists.items()}
        assert follower.lists == fresh, (
            f"(kept, fresh): { {name: rows for name, rows in wrong.items() if rows} }"
        )
    finally:
        follower.stopping.set()
        await following
    for view in changed:
        assert fresh[view.name] != before[view.name], f"nothing happened to {view.name}"
    for name, cursors in follower.told.items():
        assert len(cursors) == len(set(cursors)), f"{name} was told twice"


async def comes_to(condition: Callable[[], bool], following: asyncio.Task[None]) -> None:
    """Return when the condition holds, when the follower has failed, or when nobody would wait any longer."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not (condition() or following.done() or asyncio.get_running_loop().time() > deadline):
        await asyncio.sleep(0.02)


def differing(kept: Rows, fresh: Rows) -> dict[str, tuple[Node | None, Node | None]]:
    every = kept.keys() | fresh.keys()
    return {key: (kept.get(key), fresh.get(key)) for key in every if kept.get(key) != fresh.get(key)}
