"""What a journey can ask about now, answered from a `World`: the twin of `execution.lookups`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from hogsend.journeys.conditions.builders import Condition
from hogsend.testing.world import World


async def answer(ask: str, world: World, args: Mapping[str, Any]) -> Any:
    """Answer the question `ask` with its arguments, as of the world's now."""
    return await _ANSWERS[ask](world, args)


async def _nothing(_world: World, _args: Mapping[str, Any]) -> None:
    return None


async def _now(world: World, _args: Mapping[str, Any]) -> str:
    return world.now.isoformat()


async def _user(world: World, _args: Mapping[str, Any]) -> dict[str, Any]:
    return {**world.user, "properties": dict(world.contact_properties)}


async def _has_event(world: World, args: Mapping[str, Any]) -> bool:
    where = Condition.from_json(args["where"]) if args["where"] else None
    since = _since(world, args)
    return any(
        since is None or event.at >= since for event in world.arrived(args["name"], where, after_seq=0)
    )


async def _has_journey(world: World, args: Mapping[str, Any]) -> bool:
    since = _since(world, args)
    return any(
        run.journey_id == args["name"]
        and args["status"] in (None, run.status)
        and (since is None or world.started_at - run.ago >= since)
        for run in world.past_runs
    )


async def _has_email(world: World, args: Mapping[str, Any]) -> bool:
    return await world.email_engagement(args["name"], args["what"], _since(world, args))


async def _is_subscribed(world: World, args: Mapping[str, Any]) -> bool:
    return world.refusal(args["category"]) is None


async def _throttle(world: World, args: Mapping[str, Any]) -> bool:
    since = world.now - timedelta(seconds=args["seconds"])
    sent = [at for _, did, at in world.engagement if did == "sent" and at >= since]
    return len(sent) < int(args["limit"])


def _since(world: World, args: Mapping[str, Any]) -> datetime | None:
    within = args.get("within")
    return world.now - timedelta(seconds=within) if within else None


_ANSWERS: dict[str, Callable[[World, Mapping[str, Any]], Awaitable[Any]]] = {
    "nothing": _nothing,
    "now": _now,
    "user": _user,
    "has_event": _has_event,
    "has_journey": _has_journey,
    "has_email": _has_email,
    "is_subscribed": _is_subscribed,
    "throttle": _throttle,
}
