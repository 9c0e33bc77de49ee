"""Emails that do not simply go out: refused, held up by an outage, kept back since one bounced or was complained of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hogsend import Context, JourneyError, User, days, email, hours, journey, minutes, on, seconds
from hogsend.decisions.reasons import Reason
from hogsend.testing import (
    PastEmail,
    after,
    bounced,
    complained,
    down,
    refused,
    rehearse,
    unsubscribed,
    updated,
)


@journey(id="asks", trigger="start", exit_on="left", suppress=days(7))
async def asks(user: User, ctx: Context) -> None:
    welcome = await ctx.send("welcome")
    paid = await ctx.wait_for_event("paid", timeout=days(1))
    await ctx.send("thanks" if paid else "reminder", props={"was": welcome.status, "because": welcome.reason})
    await ctx.send("receipt", category="transactional")


Sent = list[tuple[str, str, str | None, timedelta]]


def emails(*happens: Any) -> Sent:
    return [
        (one.template, one.status, one.reason, one.after) for one in rehearse(asks, happens=happens).emails
    ]


def test_a_provider_that_refuses() -> None:
    run = rehearse(asks, happens=[refused("welcome")])
    assert run.emails[0].status == "failed"
    assert run.emails[0].reason == Reason.PROVIDER_REFUSED
    assert run.emails[1].props == {"was": "failed", "because": "provider_refused"}
    assert run.sent == ["reminder", "receipt"]


def test_a_provider_that_refuses_the_first_time_only() -> None:
    @journey(id="again", trigger="start")
    async def again(user: User, ctx: Context) -> None:
        while not (await ctx.send("welcome")).sent:
            await ctx.sleep(hours(1))

    run = rehearse(again, happens=[refused("welcome", times=2)])
    assert [(one.status, one.after) for one in run.emails] == [
        ("failed", hours(0)),
        ("failed", hours(1)),
        ("sent", hours(2)),
    ]


def test_an_email_is_held_up_by_an_outage_and_what_arrives_meanwhile_counts() -> None:
    outage = down(days(0), lasting=minutes(30))
    # After five seconds, then twice as long each time, ten minutes at the most.
    back = sum((seconds(5 * 2**n) for n in range(7)), seconds(0)) + 2 * minutes(10)
    assert emails(outage, after(minutes(3), "paid")) == [
        ("welcome", "sent", None, back),
        ("thanks", "sent", None, back),
        ("receipt", "sent", None, back),
    ]
    assert emails(outage)[1] == ("reminder", "sent", None, back + days(1))
    assert emails(down(hours(1), lasting=hours(2)))[0] == ("welcome", "sent", None, hours(0))


def test_an_outage_of_a_day_fails_the_email() -> None:
    first, *_ = emails(down(days(0), lasting=days(1)), unsubscribed(hours(30)))
    assert first[:3] == ("welcome", "failed", "retries_exhausted")
    assert hours(23) < first[3] <= hours(23) + minutes(10)


def test_what_happens_in_an_outage_stops_the_email() -> None:
    outage = down(days(0), lasting=hours(2))
    gone = rehearse(asks, happens=[outage, after(hours(1), "left")])
    assert (gone.status, gone.exited_by, gone.sent) == ("exited", "left", [])
    assert [(one.status, one.reason, one.after) for one in gone.emails] == [
        ("suppressed", "run_ended", hours(1))
    ]
    first, *_ = emails(outage, unsubscribed(hours(1)))
    assert first[:3] == ("welcome", "suppressed", "unsubscribed_from_all")
    assert hours(1) < first[3] <= hours(1) + minutes(10)


@pytest.mark.parametrize(
    ("comes", "reason"), [(bounced, "address_bounced"), (complained, "address_complained")]
)
def test_nothing_is_sent_to_an_address_that_bounced_or_complained(
    comes: Callable[[str, timedelta], Any], reason: str
) -> None:
    run = rehearse(asks, happens=[comes("welcome", hours(2))])
    assert run.sent == ["welcome"]
    assert [(one.template, one.status, one.reason) for one in run.emails[1:]] == [
        ("reminder", "suppressed", reason),
        # What is transactional too.
        ("receipt", "suppressed", reason),
    ]
    assert rehearse(asks, happens=[comes("welcome", days(2))]).sent == ["welcome", "reminder", "receipt"]


def test_a_journey_can_ask_whether_an_email_came_back() -> None:
    @journey(id="looks", trigger="start")
    async def looks(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        await ctx.sleep(days(1))
        for what in ("delivered", "bounced"):
            await ctx.checkpoint(f"{what} {await ctx.history.email('welcome', what=what)}")
        await ctx.checkpoint(f"reachable {await ctx.guard.is_subscribed('news')}")

    assert rehearse(looks).checkpoints == ["delivered True", "bounced False", "reachable True"]
    returned = rehearse(looks, happens=[bounced("welcome")])
    assert returned.checkpoints == ["delivered False", "bounced True", "reachable False"]


def test_emails_from_before_the_start() -> None:
    own = PastEmail("reminder", ago=days(3), journey_id="asks")
    assert rehearse(asks, happens=[own]).reason is Reason.EMAILED_RECENTLY
    assert rehearse(asks, happens=[PastEmail("reminder", ago=days(3))]).status == "completed"
    assert emails(PastEmail("news", ago=days(90), did=["bounced"]))[0][:3] == (
        "welcome",
        "suppressed",
        "address_bounced",
    )

    @journey(id="readers", trigger=on("start", where=email("news").opened(within=days(30))))
    async def readers(user: User, ctx: Context) -> None:
        await ctx.checkpoint(f"room {await ctx.throttle(limit=1, per=days(7))}")

    assert rehearse(readers).reason is Reason.TRIGGER_NOT_MATCHED
    assert rehearse(readers, happens=[PastEmail("news", days(9), did=["opened"])]).checkpoints == [
        "room True"
    ]
    assert rehearse(readers, happens=[PastEmail("news", days(2), did=["opened"])]).checkpoints == [
        "room False"
    ]


def test_what_changes_at_zero_was_so_at_the_start() -> None:
    assert emails(unsubscribed(days(0)))[0][1:3] == ("suppressed", "unsubscribed_from_all")

    @journey(id="plans", trigger="start")
    async def plans(user: User, ctx: Context) -> None:
        await ctx.checkpoint(user.properties["plan"])

    assert rehearse(plans, happens=[updated(days(0), {"plan": "pro"})]).checkpoints == ["pro"]


@pytest.mark.parametrize(
    ("mistake", "lesson"),
    [
        (lambda: refused("welcome", times=0), "times is a whole number from 1 up"),
        (lambda: down(days(0), lasting=days(0)), "above zero"),
        (lambda: down(days(-1), lasting=days(1)), "give a length of time"),
        (lambda: PastEmail("welcome", ago=days(0)), "above zero"),
        (lambda: PastEmail("welcome", ago=days(1), did=["read"]), "did=…. has read"),  # type: ignore[list-item]
    ],
)
def test_a_script_is_checked(mistake: Callable[[], object], lesson: str) -> None:
    with pytest.raises(JourneyError, match=lesson):
        mistake()
