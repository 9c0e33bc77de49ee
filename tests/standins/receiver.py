"""Whoever takes a webhook: Slack's incoming webhooks, or an address of the operator's own."""

from __future__ import annotations

from typing import Any

from tests.standins.http import Answer, Request, StandIn


class ReceiverStandIn(StandIn):
    """Keeps every JSON body that it took. Answers `ok`, as Slack does."""

    @property
    def bodies(self) -> list[Any]:
        return [request.json() for request in self._taken]

    def __init__(self) -> None:
        super().__init__()
        self._taken: list[Request] = []

    async def answer(self, request: Request) -> Answer:
        self._taken.append(request)
        return Answer(200, b"ok", {"Content-Type": "text/html"})
