"""`hogsend.testing`: what a rehearsal shows, and what it refuses."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from hogsend import (
    Context,
    JourneyError,
    StepFailed,
    User,
    days,
    email,
    event,
    hours,
    journey,
    minutes,
    on,
    once_per,
    prop,
    user_prop,
    when,
)
from hogsend.decisions.reasons import Reason
from hogsend.testing import (
    PastRun,
    after,
    before,
    clicked,
    opened,
    rehearse,
    rehearse_async,
    unsubscribed,
    updated,
)


def test_a_wait_gives_the_event_that_ended_it_and_when() -> None:
    @journey(id="waits", trigger="start")
    async def waits(user: User, ctx: Context) -> None:
        found = await ctx.wait_for_event("paid", timeout=days(3), where=prop("amount") > 10)
        await ctx.send("thanks", props={"amount": found.properties.get("amount"), "in_time": bool(found)})

    small, large = after(days(1), "paid", {"amount": 5}), after(days(2), "paid", {"amount": 50})
    run = rehearse(waits, happens=[large, small])
    assert run.emails[0].props == {"amount": 50, "in_time": True}
    assert run.emails[0].after == days(2)
    assert rehearse(waits, happens=[small]).emails[0].props == {"amount": None, "in_time": False}


def test_an_event_at_the_last_instant_counts_and_one_behind_it_does_not() -> None:
    @journey(id="waits", trigger="start")
    async def waits(user: User, ctx: Context) -> None:
        await ctx.checkpoint("in time" if await ctx.wait_for_event("go", timeout=days(1)) else "late")

    assert rehearse(waits, happens=[after(days(1), "go")]).checkpoints == ["in time"]
    assert rehearse(waits, happens=[after(days(1) + timedelta(microseconds=1), "go")]).checkpoints == ["late"]


def test_a_wait_sees_nothing_from_before_the_step_that_it_follows() -> None:
    @journey(id="waits", trigger="start")
    async def waits(user: User, ctx: Context) -> None:
        await ctx.sleep(days(1))
        await ctx.checkpoint("came" if await ctx.wait_for_event("go", timeout=days(1)) else "never came")

    assert rehearse(waits, happens=[before(days(1), "go"), after(hours(3), "go")]).checkpoints == [
        "never came"
    ]
    assert rehearse(waits, happens=[after(hours(30), "go")]).checkpoints == ["came"]


def test_two_waits_share_no_event_and_lose_none() -> None:
    @journey(id="waits", trigger="start")
    async def waits(user: User, ctx: Context) -> None:
        first = await ctx.wait_for_event("go", timeout=days(9), label="first")
        second = await ctx.wait_for_event("go", timeout=days(9), label="second")
        await ctx.send("both", props={"seen": [first.properties["n"], second.properties["n"]]})

    at_once = [after(days(1), "go", {"n": 1}), after(days(1), "go", {"n": 2}), after(days(2), "go", {"n": 3})]
    assert rehearse(waits, happens=at_once).emails[0].props == {"seen": [1, 2]}


def test_a_digest_collects_what_arrives_in_its_window() -> None:
    @journey(id="collects", trigger="start")
    async def collects(user: User, ctx: Context) -> None:
        found = await ctx.digest("comment", window=hours(24), where={"spam": False})
        await ctx.send("digest", props={"said": [one.properties["said"] for one in found]})

    run = rehearse(
        collects,
        happens=[
            before(hours(1), "comment", {"said": "before", "spam": False}),
            after(hours(2), "comment", {"said": "b", "spam": False}),
            after(hours(1), "comment", {"said": "a", "spam": False}),
            after(hours(3), "comment", {"said": "buy", "spam": True}),
            after(hours(25), "comment", {"said": "late", "spam": False}),
        ],
    )
    assert run.emails[0].props == {"said": ["a", "b"]}


def test_properties_of_events_and_of_the_person_can_be_handed_on_as_they_are() -> None:
    @journey(id="hands-on", trigger="start")
    async def hands_on(user: User, ctx: Context) -> None:
        said = [one.properties for one in await ctx.digest("comment", window=hours(1))]
        await ctx.send(
            "digest", props={"said": said, "person": user.properties, "start": ctx.event.properties}
        )

    run = rehearse(
        hands_on,
        user={"properties": {"plan": "pro"}},
        properties={"n": 1},
        happens=[after(minutes(5), "comment", {"said": "a"})],
    )
    assert run.emails[0].props == {"said": [{"said": "a"}], "person": {"plan": "pro"}, "start": {"n": 1}}


def test_history_asks_about_events_emails_and_journeys() -> None:
    @journey(id="asks", trigger="start")
    async def asks(user: User, ctx: Context) -> None:
        await ctx.send("welcome")
        await ctx.sleep(days(1))
        answers = {
            "ever": await ctx.history.has_event("login"),
            "lately": await ctx.history.has_event("login", within=days(7)),
            "pro": await ctx.history.has_event("login", where={"plan": "pro"}),
            "opened": await ctx.history.email("welcome", what="opened"),
            "clicked": await ctx.history.email("welcome", what="clicked"),
            "trial": await ctx.history.journey("trial", status="completed"),
            "subscribed": await ctx.guard.is_subscribed("news"),
            "room": await ctx.throttle(limit=1, per=days(2)),
        }
        await ctx.send("answers", props=answers)

    happens = [
        before(days(30), "login", {"plan": "pro"}),
        opened("welcome", hours(2)),
        clicked("welcome", days(3)),
        PastRun("trial", ago=days(9)),
        unsubscribed(hours(1), "news"),
    ]
    assert rehearse(asks, happens=happens).emails[-1].props == {
        "ever": True,
        "lately": False,
        "pro": True,
        "opened": True,
        "clicked": False,
        "trial": True,
        "subscribed": False,
        "room": False,
    }


def test_the_person_is_as_they_were_and_can_be_looked_at_again() -> None:
    @journey(id="looks", trigger="start")
    async def looks(user: User, ctx: Context) -> None:
        await ctx.sleep(days(1))
        now = await ctx.current_user()
        await ctx.send("plan", props={"then": user.properties["plan"], "now": now.properties["plan"]})

    run = rehearse(looks, user={"properties": {"plan": "free"}}, happens=[updated(hours(1), {"plan": "pro"})])
    assert run.emails[0].props == {"then": "free", "now": "pro"}


def test_moments_are_in_the_persons_time_zone() -> None:
    @journey(id="mornings", trigger="start")
    async def mornings(user: User, ctx: Context) -> None:
        await ctx.sleep_until(when.tomorrow(at="09:00"))
        await ctx.send("good-morning")

    starts = datetime(2026, 3, 28, 12, tzinfo=UTC)
    berlin = rehearse(mornings, user={"properties": {"timezone": "Europe/Berlin"}}, starts=starts)
    assert berlin.emails[0].at == datetime(2026, 3, 29, 7, tzinfo=UTC)
    nowhere = rehearse(mornings, user={"properties": {"timezone": "Moon/Sea"}}, starts=starts)
    assert nowhere.emails[0].at == datetime(2026, 3, 29, 9, tzinfo=UTC)


def test_an_exit_event_counts_only_where_its_conditions_hold() -> None:
    @journey(id="exits", trigger="start", exit_on=on("paid", where=prop("amount") >= 10))
    async def exits(user: User, ctx: Context) -> None:
        await ctx.sleep(days(2))
        await ctx.send("reminder")

    assert rehearse(exits, happens=[after(days(1), "paid", {"amount": 5})]).sent == ["reminder"]
    run = rehearse(exits, happens=[after(days(1), "paid", {"amount": 10})])
    assert (run.status, run.reason, run.exited_by, run.sent) == ("exited", Reason.EXIT_EVENT, "paid", [])


def test_a_journey_can_end_itself_by_an_event() -> None:
    @journey(id="ends", trigger="start", exit_on="done")
    async def ends(user: User, ctx: Context) -> None:
        await ctx.trigger("done", {"by": "itself"})
        await ctx.send("never")

    run = rehearse(ends)
    assert (run.status, run.sent) == ("exited", [])
    assert [(one.name, one.properties) for one in run.events] == [("start", {}), ("done", {"by": "itself"})]


def test_the_guards_are_asked_as_ingestion_asks_them() -> None:
    where = (prop("plan") == "pro") & event("login").at_least(2, within=days(7)) & ~email("welcome").sent()

    @journey(id="guarded", trigger=on("start", where=where), entry=once_per(days(30)))
    async def guarded(user: User, ctx: Context) -> None:
        await ctx.send("hello")

    logins = [before(days(1), "login"), before(days(2), "login")]
    pro = {"plan": "pro"}
    assert rehearse(guarded, properties=pro, happens=logins).sent == ["hello"]
    cold = rehearse(guarded, properties=pro, happens=logins[:1])
    assert (cold.status, cold.reason) == ("skipped", Reason.TRIGGER_NOT_MATCHED)
    failed = next(guard for guard in cold.guards if guard.outcome == "failed")
    assert failed.actual == "login happened once within 7 days"
    again = rehearse(guarded, properties=pro, happens=[*logins, PastRun("guarded", ago=days(3))])
    assert again.reason is Reason.ENTERED_RECENTLY
    unreachable = rehearse(guarded, properties=pro, happens=logins, user={"email": None})
    assert unreachable.reason is Reason.NO_EMAIL_ADDRESS


def test_what_once_calls_is_called_once_and_its_failure_is_kept() -> None:
    calls: list[str] = []

    async def coupon() -> dict[str, str]:
        calls.append("coupon")
        return {"code": "SPRING"}

    async def broken() -> None:
        raise ValueError("no stock")

    @journey(id="calls", trigger="start")
    async def calls_out(user: User, ctx: Context) -> None:
        made = await ctx.once("coupon", coupon)
        try:
            await ctx.once("stock", broken)
        except StepFailed as failure:
            await ctx.send("coupon", props={**made, "why": str(failure)})

    run = rehearse(calls_out)
    assert run.emails[0].props == {"code": "SPRING", "why": "ValueError: no stock"}
    assert calls == ["coupon"]


def test_a_variant_is_the_same_for_one_person_and_both_arms_are_used() -> None:
    @journey(id="splits", trigger="start")
    async def splits(user: User, ctx: Context) -> None:
        await ctx.send(await ctx.variant("subject", ["a", "b"]))

    arms = {rehearse(splits, user={"id": str(n)}).sent[0] for n in range(20)}
    assert arms == {"a", "b"}
    assert rehearse(splits, user={"id": "7"}).sent == rehearse(splits, user={"id": "7"}).sent


def test_what_the_journey_raises_comes_out() -> None:
    @journey(id="raises", trigger="start")
    async def raises(user: User, ctx: Context) -> None:
        await ctx.send("hello")
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        rehearse(raises)


def test_a_journey_that_would_not_replay_fails_its_test() -> None:
    dice = random.Random(7)

    @journey(id="dices", trigger="start")
    async def dices(user: User, ctx: Context) -> None:
        await ctx.send("hello", props={"n": dice.random()})

    with pytest.raises(JourneyError, match=r"takes other steps when it is replayed.*ctx\.variant"):
        rehearse(dices)

    turns: list[int] = []

    @journey(id="grows", trigger="start")
    async def grows(user: User, ctx: Context) -> None:
        turns.append(1)
        for _ in turns:
            await ctx.checkpoint("again")

    with pytest.raises(JourneyError, match="the code now goes on with checkpoint:again#2"):
        rehearse(grows)


def test_a_journey_without_an_end_is_noticed() -> None:
    @journey(id="loops", trigger="start")
    async def loops(user: User, ctx: Context) -> None:
        while True:
            await ctx.checkpoint("round")

    with pytest.raises(JourneyError, match="loop for ever"):
        rehearse(loops)


async def test_it_runs_inside_async_tests_too() -> None:
    @journey(id="greets", trigger="start")
    async def greets(user: User, ctx: Context) -> None:
        await ctx.send("hello")

    assert (await rehearse_async(greets)).sent == ["hello"]
    with pytest.raises(JourneyError, match="await rehearse_async"):
        rehearse(greets)


@pytest.mark.parametrize(
    ("mistake", "lesson"),
    [
        (lambda: after(days(-1), "x"), "give a length of time"),
        (lambda: after(3, "x"), "give a length of time"),  # type: ignore[arg-type]
        (lambda: after(days(1), ""), "no event name"),
        (lambda: before(days(0), "x"), "above zero"),
        (lambda: opened("welcome", minutes(-1)), "give a length of time"),
    ],
)
def test_a_script_is_checked(mistake: Callable[[], object], lesson: str) -> None:
    with pytest.raises(JourneyError, match=lesson):
        mistake()


def test_a_person_has_no_other_fields() -> None:
    @journey(id="greets", trigger=on("start", where=user_prop("plan").exists()))
    async def greets(user: User, ctx: Context) -> None:
        await ctx.send("hello")

    with pytest.raises(JourneyError, match="has plan: put what is yours under `properties`"):
        rehearse(greets, user={"plan": "pro"})
    with pytest.raises(JourneyError, match="aware datetime"):
        rehearse(greets, starts=datetime(2026, 3, 1))
