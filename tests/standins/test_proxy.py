"""The proxy of the tests leaves no connection behind, however close upon one another its two ends go."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.standins.http import StandIn
from tests.standins.proxy import Proxy


@pytest.mark.parametrize("turns", range(8))
def test_a_client_that_leaves_just_before_the_proxy_leaves_no_socket(
    turns: int, recwarn: pytest.WarningsRecorder
) -> None:
    """`turns` of the loop lie between the two: in some of them the proxy is just closing the other side."""

    async def leave() -> None:
        async with StandIn() as target, Proxy(target.url) as proxy:
            host, _, port = proxy.url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readline()
            writer.close()
            for _ in range(turns):
                await asyncio.sleep(0)

    asyncio.run(leave())
    gc.collect()
    assert [str(one.message) for one in recwarn] == []
