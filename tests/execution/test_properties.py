"""Random journeys, lives, crashes, exits and delays on Postgres: the journal is what the contract says.

HOGSEND_EXAMPLES says how many; 15 by default, 40 in `make test-all`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate, count
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from hogsend import Context, Journey, User, days, journey, on, prop
from hogsend.clock import ManualClock
from hogsend.emails.providers import Message
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.sending.job import sweep_sends
from hogsend.execution.advance import advance
from hogsend.journeys.registry import Registry
from hogsend.runtime import Runtime
from tests.driving import Crashed, rows, send_event
from tests.execution.contract_model import Act, Arrival, Model, Slice, Taken
from tests.fixtures.journeys import RunningWith

MOST_SLICES = 200
_numbers = count()


@dataclass(frozen=True)
class Said:
    """An event that somebody sends."""

    name: str
    n: int


@dataclass(frozen=True)
class Case:
    """A journey, and all that happens to it.

    `life` are events by their half hour; `crashes` the points at which a worker dies, by number, and what arrives
    before the next one looks; `on_the_wire` what arrives while the provider is called, by the number of the call;
    `late` how long after each wake-up somebody drives.
    """

    acts: Sequence[Act]
    life: Mapping[int, Said]
    crashes: Mapping[int, Said | None]
    on_the_wire: Mapping[int, Said]
    late: Sequence[timedelta]


_SPANS = st.sampled_from([timedelta(hours=h) for h in (0.5, 1, 2, 5, 12)])
_SAID = st.sampled_from(
    [Said(name, n) for name in "aab" for n in range(4)] + [Said("stop", n) for n in (1, 2, 3)]
)
_KINDS = (["send", "wait", "ask"] * 3 + ["sleep", "digest", "seen", "trigger"] * 2 + ["once", "now"]) * 2
_ACTS = st.builds(
    Act,
    st.sampled_from([*_KINDS, "leave"]),
    st.sampled_from("aab"),
    _SPANS,
    st.integers(0, 3),
    st.booleans(),
)
_GAPS = st.tuples(st.integers(1, 15), st.none() | _SAID)


def _one_after_another(gaps: list[tuple[int, Said | None]]) -> dict[int, Said | None]:
    return dict(zip(accumulate(gap for gap, _ in gaps), (said for _, said in gaps), strict=True))


CASES = st.builds(
    Case,
    acts=st.lists(_ACTS, min_size=3, max_size=9),
    life=st.dictionaries(st.integers(0, 48), _SAID, max_size=8),
    crashes=st.lists(_GAPS, max_size=5).map(_one_after_another),
    on_the_wire=st.dictionaries(st.integers(0, 3), _SAID, max_size=1),
    late=st.lists(
        st.sampled_from([timedelta(0), timedelta(0), timedelta(minutes=40)]), min_size=1, max_size=4
    ),
)


def journey_of(number: int, acts: Sequence[Act]) -> Journey:
    @journey(id=f"random-{number}", trigger=f"start-{number}", exit_on=on("stop", where=prop("n") > 1))
    async def run(user: User, ctx: Context) -> None:
        for index, act in enumerate(acts):
            await _take(ctx, act, f"s{index}")

    return run


async def _take(ctx: Context, act: Act, label: str) -> None:
    where = prop("n") > 1 if act.picky else None

    async def answer() -> str:
        return label

    match act.kind:
        case "send":
            await ctx.send("welcome")
        case "sleep":
            await ctx.sleep(act.span, label=label)
        case "wait":
            await ctx.wait_for_event(act.name, timeout=act.span, where=where, label=label)
        case "ask":
            found = await ctx.wait_for_event(act.name, timeout=act.span, where=where, label=label)
            await ctx.send("nudge" if found.timed_out else "congrats")
        case "digest":
            await ctx.digest(act.name, window=act.span, where=where, label=label)
        case "seen":
            await ctx.history.has_event(act.name)
        case "trigger":
            await ctx.trigger(act.name, {"n": act.n}, label=label)
        case "leave":
            await ctx.trigger("stop", {"n": act.n}, label=label)
        case "once":
            await ctx.once(label, answer)
        case "now":
            await ctx.now()


class Wire(MemoryProvider):
    """Takes messages, and lets something happen while it does."""

    def __init__(self) -> None:
        super().__init__()
        self.life: Life | None = None

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        if self.life is not None:
            await self.life.on_the_wire()
        return await super().send(message, idempotency_key=idempotency_key)


@dataclass
class Life:
    """One case, as it goes: drives its run alone, and writes down what the model must know."""

    runtime: Runtime
    clock: ManualClock
    case: Case
    number: int
    run_id: UUID
    slices: list[Slice] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    cut: int | None = None
    points: int = 0
    calls: int = 0
    driving: bool = False
    crashed_at: str = ""

    @property
    def email(self) -> str:
        return f"person-{self.number}@example.com"

    async def live(self) -> None:
        start = self.clock.now()
        for half_hours, said in sorted(self.case.life.items()):
            moment = start + timedelta(minutes=30) * half_hours
            await self._go_on(moment - timedelta(microseconds=1))
            self.clock.set(max(moment, self.clock.now()))
            await self._arrives(said)
        await self._go_on(start + days(300))

    async def on_the_wire(self) -> None:
        self.calls += 1
        said = self.case.on_the_wire.get(self.calls - 1)
        if said is not None:
            self.driving = False
            await self._arrives(said, on_the_wire=True)
            self.driving = True

    def fault_point(self, point: str) -> None:
        if not self.driving:
            return
        self.points += 1
        if self.points - 1 in self.case.crashes:
            self.crashed_at = point
            raise Crashed(point)

    async def _go_on(self, until: datetime) -> None:
        """Drive the run whenever it is due, until `until` or its end."""
        while (state := await self.state()).status in ("pending", "active", "waiting"):
            assert len(self.slices) < MOST_SLICES
            due = max(
                state.wake_at + self.case.late[len(self.slices) % len(self.case.late)], self.clock.now()
            )
            if due > until:
                return
            self.clock.set(due)
            await self._slice()
            self.slices.append(Slice(due, await self.begun()))

    async def _slice(self) -> None:
        before, self.driving, self.crashed_at = len(self.arrivals), True, ""
        try:
            await advance(self.runtime, self.run_id, "test")
        except Crashed:
            self.driving = False
            if (
                self.cut is not None
                and len(self.arrivals) > before
                and self.crashed_at == "after_provider_call"
            ):
                self.cut -= 1  # It ended the run on the wire, and nobody lived to record the answer.
            await self._release()
            said = self.case.crashes[self.points - 1]
            if said is not None:
                await self._arrives(said)
        finally:
            self.driving = False

    async def _release(self) -> None:
        """What the watchdog does for the dead."""
        async with self.runtime.database.transaction() as conn:
            for table, key in (("journey_states", "id"), ("email_sends", "state_id")):
                await conn.exec_driver_sql(
                    f"UPDATE {table} SET lease_until = NULL, lease_owner = NULL WHERE {key} = $1",
                    (self.run_id,),
                )

    async def _arrives(self, said: Said, *, on_the_wire: bool = False) -> None:
        live = (await self.state()).status in ("pending", "active", "waiting")
        done = len(await self.taken())
        await send_event(self.runtime, said.name, email=self.email, n=said.n)
        if live:
            arrival = Arrival(said.name, said.n, self.clock.now(), done)
            self.arrivals.append(arrival)
            if arrival.ends_the_run:
                # The wire has no undo: the step that is on it is recorded.
                self.cut = done + on_the_wire

    async def state(self) -> Any:
        (state,) = await rows(self.runtime, "SELECT * FROM journey_states WHERE id = :id", id=self.run_id)
        return state

    async def begun(self) -> int:
        """How many steps the run has taken or is in."""
        query = "SELECT count(*) AS steps FROM journey_steps WHERE state_id = :id"
        return int((await rows(self.runtime, query, id=self.run_id))[0].steps)

    async def taken(self) -> list[Taken]:
        query = "SELECT key, kind, result FROM journey_steps WHERE state_id = :id AND status = 'done' ORDER BY seq"
        return [(row.key, _shown(row)) for row in await rows(self.runtime, query, id=self.run_id)]


def _shown(row: Any) -> Any:
    match row.kind:
        case "send":
            return row.result["status"]
        case "wait":
            return "timed out" if row.result["timed_out"] else row.result["properties"]["n"]
        case "digest":
            return [item["properties"]["n"] for item in row.result]
        case "once":
            return row.result["value"]
        case "sleep" | "trigger":
            return None
    return row.result


@settings(
    max_examples=int(os.environ.get("HOGSEND_EXAMPLES", "15")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=CASES)
async def test_the_journal_is_what_the_contract_says(
    case: Case, running: RunningWith, clock: ManualClock
) -> None:
    note(str(case))
    provider = Wire()
    number = next(_numbers)
    async with running(provider=provider) as runtime:
        runtime.registry = Registry([journey_of(number, case.acts)])
        result = await send_event(runtime, f"start-{number}", email=f"person-{number}@example.com")
        (enrollment,) = result.enrollments
        assert enrollment.state_id is not None
        life = Life(runtime, clock, case, number, enrollment.state_id)
        provider.life, runtime.fault_point = life, life.fault_point
        await life.live()
        provider.life = None

        model = Model(life.slices, life.arrivals, life.cut).follow(case.acts)
        assert await life.taken() == model.taken
        assert (await life.state()).status == ("exited" if model.exited else "completed")
        await sweep_sends(runtime)
        await _check_emails(life, provider, model)
        await _check_ledger(life, model)


async def _check_emails(life: Life, provider: MemoryProvider, model: Model) -> None:
    """Each send of the journal went out once; one more may have, where an exit came to a dead worker's."""
    sent = [
        key.partition(":")[2].partition("#")[0].capitalize() for key, what in model.taken if what == "sent"
    ]
    got = [message.subject.split()[0] for message in provider.to(life.email)]
    assert got[: len(sent)] == sent
    assert len(got) - len(sent) in ((0, 1) if model.exited else (0,))
    query = "SELECT status, refusal FROM email_sends WHERE state_id = :id ORDER BY created_at, id"
    emails = Counter((row.status, row.refusal) for row in await rows(life.runtime, query, id=life.run_id))
    assert emails.pop(("sent", None), 0) == len(sent)
    assert set(emails) <= {("failed", "run_ended"), ("failed", "outcome_unknown")}
    assert emails.total() <= model.exited


async def _check_ledger(life: Life, model: Model) -> None:
    """Every verdict once, however often it was reached."""
    query = "SELECT kind, reason FROM decisions WHERE state_id = :id"
    verdicts = Counter((row.kind, row.reason) for row in await rows(life.runtime, query, id=life.run_id))
    kinds = Counter(key.partition(":")[0] for key, _ in model.taken)
    timed_out = sum(key.startswith("wait:") and what == "timed out" for key, what in model.taken)
    assert verdicts["resumed", "sleep_ended"] == kinds["sleep"]
    assert verdicts["resumed", "window_ended"] == kinds["digest"]
    assert verdicts["resumed", "wait_timed_out"] == timed_out
    assert verdicts["resumed", "event_arrived"] == kinds["wait"] - timed_out
    assert verdicts["branched", "event_triggered"] == kinds["trigger"]
    assert verdicts["sent", "provider_accepted"] == kinds["send"]
    ends = {("completed", "journey_ended"), ("exited", "exit_event")}
    assert sum(verdicts[end] for end in ends) == 1
