"""Work that becomes ready in one moment leaves the loop to others in between."""

from __future__ import annotations

import asyncio

from hogsend.runtime import Runtime
from hogsend.serving.pace import TURNS_A_PASS, Pace


async def test_others_go_between_turns_which_are_taken_in_order(runtime: Runtime) -> None:
    pace, passes, taken = Pace(runtime), 0, []

    async def one(number: int) -> None:
        await pace.turn()
        taken.append((number, passes))

    working = [asyncio.create_task(one(number)) for number in range(40)]
    working[7].cancel()
    while len(taken) < 39:
        await asyncio.sleep(0)
        passes += 1
    assert [number for number, _ in taken] == [number for number in range(40) if number != 7]
    of_one_pass = [[at for _, at in taken].count(at) for at in {at for _, at in taken}]
    assert max(of_one_pass) <= TURNS_A_PASS
