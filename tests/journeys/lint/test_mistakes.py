"""Mistakes in a journey's code, told at boot."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hogsend import Context, Journey, JourneyError, User, days, email, hours, journey, on, prop
from hogsend.boot import open_runtime
from hogsend.emails.templates.render import Templates
from hogsend.journeys.lint.mistakes import JourneysError, check
from hogsend.journeys.registry import Registry
from hogsend.settings import Settings

TEMPLATES = ["welcome", "nudge"]


def problems(*journeys: Journey) -> list[str]:
    try:
        check(journeys, TEMPLATES)
    except JourneysError as error:
        return error.problems
    return []


def test_a_template_that_does_not_exist() -> None:
    @journey(id="typo", trigger=on("start", where=email("nudged").sent()))
    async def typo(user: User, context: Context) -> None:
        await context.send("welcom")
        if await context.history.email(template="nudge", what="opened"):
            await context.send(template="goodbye")

    line = typo.run.__code__.co_firstlineno
    assert problems(typo) == [
        "journey 'typo': its conditions ask about the template 'nudged', which does not exist; did you mean nudge?",
        f"journey 'typo' (line {line + 2}): ctx.send names the template 'welcom', which does not exist; "
        "did you mean welcome?",
        f"journey 'typo' (line {line + 4}): ctx.send names the template 'goodbye', which does not exist",
    ]


def test_an_exit_event_that_is_also_waited_for() -> None:
    @journey(id="waits", trigger="start", exit_on=["paid", on("refunded", where=prop("full") == True)])  # noqa: E712
    async def waits(user: User, ctx: Context) -> None:
        await ctx.wait_for_event("paid", timeout=days(3))
        await ctx.wait_for_event("refunded", timeout=days(3))
        await ctx.digest("paid", window=hours(1))

    found = problems(waits)
    assert len(found) == 2
    assert "paid is in exit_on, so the run ends before ctx.wait_for_event can see it" in found[0]


def test_a_wait_that_is_too_long() -> None:
    @journey(id="sleeps", trigger="start")
    async def sleeps(user: User, ctx: Context) -> None:
        await ctx.sleep(days(367))
        await ctx.sleep(days(366))
        await ctx.wait_for_event("paid", timeout=hours(9000), label="long")

    found = problems(sleeps)
    assert [one.split("): ")[1].split(" is")[0] for one in found] == ["days(367)", "hours(9000)"]
    assert "366 days" in found[0]


def test_a_label_used_twice() -> None:
    @journey(id="labels", trigger="start")
    async def labels(user: User, ctx: Context) -> None:
        await ctx.sleep(days(1), label="pause")
        await ctx.send("welcome", label="pause")
        await ctx.sleep(days(2), label="pause")

    assert problems(labels) == [
        "journey 'labels': the label 'pause' is on 2 ctx.sleep steps: give each its own"
    ]


def test_a_step_that_is_not_awaited() -> None:
    @journey(id="forgets", trigger="start")
    async def forgets(user: User, ctx: Context) -> None:
        ctx.send("welcome")  # type: ignore[unused-coroutine]
        if ctx.history.has_event("paid") or not await ctx.throttle(limit=1, per=days(1)):  # type: ignore[truthy-bool]
            await ctx.send("nudge")
        print(f"{ctx.now()}", ctx.wait_for_event("paid", timeout=days(1)).timed_out)  # type: ignore[attr-defined]
        await asyncio.gather(ctx.checkpoint("a"), ctx.checkpoint("b"))
        later = ctx.variant("arm", ["a", "b"])
        await ctx.checkpoint(await later)

    line = forgets.run.__code__.co_firstlineno
    found = problems(forgets)
    assert [one.partition(", so ")[0] for one in found] == [
        f"journey 'forgets' (line {line + 2}): ctx.send is called without await",
        f"journey 'forgets' (line {line + 3}): ctx.history.has_event is called without await",
        f"journey 'forgets' (line {line + 5}): ctx.now is called without await",
        f"journey 'forgets' (line {line + 5}): ctx.wait_for_event is called without await",
        f"journey 'forgets' (line {line + 6}): ctx.checkpoint is handed to asyncio.gather: await one step at a time",
        f"journey 'forgets' (line {line + 6}): ctx.checkpoint is handed to asyncio.gather: await one step at a time",
    ]
    assert found[0].endswith("so nothing happens: write `await ctx.send(…)`")


def test_a_step_that_there_is_not() -> None:
    @journey(id="typo", trigger="start")
    async def typo(user: User, ctx: Context) -> None:
        await ctx.wait_for_evnt("paid", timeout=days(1))  # type: ignore[attr-defined]
        await ctx.history.has_events("paid")  # type: ignore[attr-defined]
        await ctx.pay()  # type: ignore[attr-defined]

    assert [one.partition("): ")[2] for one in problems(typo)] == [
        "there is no ctx.wait_for_evnt; did you mean ctx.wait_for_event?",
        "there is no ctx.history.has_events; did you mean ctx.history.has_event?",
        "there is no ctx.pay",
    ]


def test_what_is_computed_or_has_no_source_is_left_alone() -> None:
    @journey(id="computes", trigger="start")
    async def computes(user: User, ctx: Context) -> None:
        template = str(user.properties["template"])
        await ctx.send(template)
        await ctx.sleep(days(user.properties["days"]))

    names: dict[str, object] = {"journey": journey}
    exec(
        "@journey(id='typed', trigger='start')\nasync def typed(user, ctx):\n    await ctx.send('no')", names
    )
    typed = names["typed"]
    assert isinstance(typed, Journey)
    assert problems(computes, typed) == []


def test_the_shipped_journeys_have_no_such_mistakes(settings: Settings) -> None:
    check(Registry.load(["worker.journeys"]).all(), Templates.load(settings.templates).keys())


async def test_a_process_says_at_its_start_where_a_journey_asks_the_machine(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asking.py").write_text(
        """
import random as dice, time, uuid
from datetime import datetime
from hogsend import days, journey, prop
import hogsend

class Shop:
    def now(self):
        return 1

shop = Shop()
paid = prop("paid")

@journey(id="asking", trigger="start")
async def asking(user, ctx):
    if datetime.now().hour < 9 or dice.choice([1, 2]) == 1:
        time.sleep(1)
    async def code():
        return str(uuid.uuid4()), time.time()
    await ctx.once("code", code)
    shop.now(); paid.exists(); hogsend.days(1); undefined.now()
    await ctx.checkpoint(str((lambda: time.time())))
    time_ = uuid.UUID(int=1)
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    with capture_logs() as logs:
        async with open_runtime(settings.model_copy(update={"journeys": ["asking"]})):
            pass
    assert [
        (line["event"], line["journey"], line["line"], line["call"], line["instead"]) for line in logs
    ] == [
        ("journey_asks_the_machine", "asking", 16, "datetime.now()", "await ctx.now()"),
        ("journey_asks_the_machine", "asking", 16, "dice.choice()", "await ctx.variant(…), or ctx.once(…)"),
        ("journey_asks_the_machine", "asking", 17, "time.sleep()", "await ctx.sleep(…)"),
    ]


async def test_a_process_does_not_start_with_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "mistaken.py"
    module.write_text(
        "from hogsend import journey\n\n\n"
        '@journey(id="mistaken", trigger="start")\n'
        "async def mistaken(user, ctx):\n"
        '    await ctx.send("welcom")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = settings.model_copy(update={"journeys": ["mistaken"]})
    with pytest.raises(
        JourneysError, match=r"journey 'mistaken' \(line 6\): ctx.send names the template 'welcom'"
    ):
        async with open_runtime(mine):
            pass


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("from hogsend import journey\n\njust words\n", "line 3: SyntaxError: invalid syntax"),
        ("from hogsend import days\n\nPAUSE = day(1)\n", "line 3: NameError: name 'day' is not defined"),
        ("\nimport no_such_library\n", "line 2: ModuleNotFoundError: No module named 'no_such_library'"),
        (
            "from hogsend import journey\njourney(id='a b', trigger='c')\n",
            "line 2: journey id 'a b': use lower-case",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(JourneyError) as refused:
        Registry.load(["broken"])
    assert str(refused.value).startswith(f"broken cannot be imported: {tmp_path / 'broken.py'}, {told}")
