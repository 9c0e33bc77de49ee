"""Strawberry as it ships, telling the same events: what `benchmarks.streams` is compared with.

    python -m benchmarks.plain_strawberry PORT REDIS_URL

One Redis subscription a process and a queue a subscriber; each executes the document for itself. The event comes
whole in the message, so that it reads nothing from a database.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import strawberry
import uvicorn
from redis.asyncio import Redis
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

CHANNEL = "plain"
_queues: set[asyncio.Queue[dict[str, Any]]] = set()


@strawberry.type
class Contact:
    external_id: str
    email: str


@strawberry.type
class Event:
    name: str
    occurred_at: str
    contact: Contact


@strawberry.type
class EventReceived:
    cursor: str
    event: Event


@strawberry.type
class Query:
    ok: bool = True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def event_received(self) -> AsyncGenerator[EventReceived, None]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        _queues.add(queue)
        try:
            while True:
                told = await queue.get()
                contact = Contact(external_id=told["externalId"], email=told["email"])
                event = Event(name=told["name"], occurred_at=told["at"], contact=contact)
                yield EventReceived(cursor=told["cursor"], event=event)
        finally:
            _queues.discard(queue)


class Served(GraphQL[Any, Any]):
    def encode_json(self, data: object) -> str:
        return orjson.dumps(data).decode()


async def receive(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(CHANNEL)
        async for message in pubsub.listen():
            told = orjson.loads(message["data"])
            for queue in _queues:
                queue.put_nowait(told)


async def main(port: int, redis_url: str) -> None:
    schema = strawberry.Schema(
        Query, subscription=Subscription, extensions=[lambda: ParserCache(100), lambda: ValidationCache(100)]
    )
    app = Served(schema, graphql_ide=None, subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,))
    receiving = asyncio.create_task(receive(redis_url))
    config = uvicorn.Config(app, port=port, log_level="error", lifespan="off", ws_per_message_deflate=False)
    await uvicorn.Server(config).serve()
    receiving.cancel()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
