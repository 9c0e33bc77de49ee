"""Events as they are ingested, with gql."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

QUERY = "subscription ($after: String) { eventReceived(after: $after) { cursor event { name } } }"


async def position(client: Client) -> str:
    """Where the streams are now: read it before your lists, and follow from it."""
    async with client as session:
        return (await session.execute(GraphQLRequest("{ streamPosition }")))["streamPosition"]


async def messages(client: Client, query: str, after: str) -> AsyncIterator[dict[str, Any]]:
    """The messages of a subscription behind `after`, through drops of the socket and restarts of the server."""
    while True:
        try:
            async with client as session:
                request = GraphQLRequest(query, variable_values={"after": after})
                async for data in session.subscribe(request):
                    (message,) = data.values()
                    yield message
                    after = message["cursor"]
        except TransportQueryError as error:
            notice = (error.errors or [{}])[0].get("extensions", {})
            if notice.get("code") != "GOING_AWAY":
                raise
            after = notice.get("cursor") or after
        except (TransportError, OSError):
            pass
        await asyncio.sleep(1)


async def main() -> None:
    url, key = os.environ["HOGSEND_URL"], os.environ["HOGSEND_KEY"]
    transport = WebsocketsTransport(
        url=url.replace("http", "ws", 1),
        init_payload={"authorization": f"Bearer {key}"},
        ping_interval=5,
        pong_timeout=5,
    )
    client = Client(transport=transport)
    async for message in messages(client, QUERY, await position(client)):
        print(message["event"]["name"], flush=True)


asyncio.run(main())
