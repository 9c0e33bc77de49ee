"""The status of a send only climbs, and where it ends does not depend on the order in which it was told."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogsend.emails.tracking.status import CLIMBS, climb
from hogsend.tables.emails import FACTS, STATUSES

# Lowest first. What stands here is the whole truth about two statuses: the higher one wins.
ORDER = ["queued", "rendered", "sent", "failed", "delivered", "opened", "clicked", "bounced", "complained"]
PROVIDERS_FACTS = [fact for fact in FACTS if fact != "queued"]


@pytest.mark.parametrize(("status", "fact"), list(product(STATUSES, STATUSES)))
def test_every_pair(status: str, fact: str) -> None:
    climbs = ORDER.index(fact) > ORDER.index(status)
    assert (fact in CLIMBS[status]) is climbs
    assert climb(status, fact) == (fact if climbs else status)


def test_a_delay_moves_nothing() -> None:
    assert {status: climb(status, "delivery_delayed") for status in STATUSES} == {s: s for s in STATUSES}


@given(
    st.lists(st.sampled_from(PROVIDERS_FACTS), max_size=8).flatmap(
        lambda x: st.tuples(st.just(x), st.permutations(x))
    )
)
def test_any_order_ends_in_the_same_status(orders: tuple[list[str], list[str]]) -> None:
    def end(facts: list[str]) -> str:
        status = "queued"
        for fact in facts:
            status = climb(status, fact)
        return status

    assert end(orders[0]) == end(orders[1])
