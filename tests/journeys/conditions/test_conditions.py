"""Conditions: what authors may write, what it means, and what they are told where it means nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogsend import Condition, JourneyError, Trigger, days, email, event, hours, minutes, on, prop, user_prop
from hogsend.journeys.conditions.builders import ConditionResult, evaluate, matches_properties
from hogsend.journeys.conditions.operators import MISSING, Operator, look_up, passes
from hogsend.journeys.conditions.tree import spoken

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@dataclass
class Remembered:
    """Facts from lists, and a count of how often the history was asked."""

    event_properties: Mapping[str, Any] = field(default_factory=dict)
    contact_properties: Mapping[str, Any] = field(default_factory=dict)
    events: list[tuple[str, datetime]] = field(default_factory=list)
    emails: list[tuple[str, str, datetime]] = field(default_factory=list)
    now: datetime = NOW
    asked: int = 0

    async def count_events(self, name: str, since: datetime | None) -> int:
        self.asked += 1
        return sum(1 for found, at in self.events if found == name and (since is None or at >= since))

    async def email_engagement(self, template: str, what: str, since: datetime | None) -> bool:
        self.asked += 1
        return any(
            (found, did) == (template, what) and (since is None or at >= since)
            for found, did, at in self.emails
        )


def holds(condition: Condition, event: Mapping[str, Any], contact: Mapping[str, Any] | None = None) -> bool:
    return matches_properties(condition, event, contact or {})


@pytest.mark.parametrize(
    ("condition", "properties", "expected"),
    [
        (prop("plan") == "pro", {"plan": "pro"}, True),
        (prop("plan") == "pro", {"plan": "free"}, False),
        (prop("plan") == "pro", {}, False),
        (prop("plan") != "pro", {"plan": "free"}, True),
        (prop("plan") != "pro", {}, True),
        (prop("amount") > 10, {"amount": 10.5}, True),
        (prop("amount") > 10, {"amount": 10}, False),
        (prop("amount") >= 10, {"amount": 10}, True),
        (prop("amount") < 10, {"amount": 9}, True),
        (prop("amount") <= 10, {"amount": 10.0}, True),
        (prop("renews") < "2026-02", {"renews": "2026-01-31"}, True),
        (prop("plan").in_(["pro", "team"]), {"plan": "team"}, True),
        (prop("plan").in_(["pro", "team"]), {"plan": "free"}, False),
        (prop("tags").contains("beta"), {"tags": ["alpha", "beta"]}, True),
        (prop("tags").contains("beta"), {"tags": ["betamax"]}, False),
        (prop("email").contains("@acme."), {"email": "jo@acme.com"}, True),
        (prop("plan").exists(), {"plan": ""}, True),
        (prop("plan").exists(), {"plan": None}, False),
        (prop("paid") == True, {"paid": True}, True),  # noqa: E712 - a property, not a truth value
        (prop("address.city") == "Ghent", {"address": {"city": "Ghent"}}, True),
        (prop("address.city") == "Ghent", {"address": "Ghent"}, False),
        (prop("address.city") == "Ghent", {"address.city": "Ghent", "address": {"city": "Gent"}}, True),
        ((prop("a") == 1) & (prop("b") == 2), {"a": 1, "b": 2}, True),
        ((prop("a") == 1) & (prop("b") == 2), {"a": 1}, False),
        ((prop("a") == 1) | (prop("b") == 2), {"b": 2}, True),
        (~(prop("a") == 1), {"a": 1}, False),
    ],
)
def test_a_property_condition(condition: Condition, properties: dict[str, Any], expected: bool) -> None:
    assert holds(condition, properties) is expected


@pytest.mark.parametrize("actual", ["10", True, None, [10], {"n": 10}, MISSING])
def test_values_of_another_type_are_neither_equal_nor_ordered(actual: object) -> None:
    properties = {} if actual is MISSING else {"amount": actual}
    for condition in (
        prop("amount") == 10,
        prop("amount") > 1,
        prop("amount") < 99,
        prop("amount").in_([10]),
    ):
        assert not holds(condition, properties)


def test_true_is_not_one() -> None:
    assert not holds(prop("n") == 1, {"n": True})
    assert not holds(prop("n") == True, {"n": 1})  # noqa: E712 - a property, not a truth value
    assert holds(prop("n") == 1, {"n": 1.0})


def test_the_contacts_properties_are_not_the_events() -> None:
    assert holds(user_prop("plan") == "pro", {"plan": "free"}, {"plan": "pro"})
    assert not holds(prop("plan") == "pro", {"plan": "free"}, {"plan": "pro"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(
    properties=st.dictionaries(st.text(max_size=4), _JSON, max_size=4),
    value=_SCALARS,
    path=st.text(min_size=1),
)
def test_no_value_a_product_sends_makes_a_comparison_raise(
    properties: dict[str, Any], value: object, path: str
) -> None:
    actual = look_up(properties, path)
    for operator in Operator:
        assert passes(operator, actual, (value,) if operator is Operator.IN else value) in (True, False)


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        (event("project.created").happened(), True),
        (event("project.created").happened(within=days(7)), True),
        (event("project.created").happened(within=hours(1)), False),
        (event("project.created").never(), False),
        (event("project.created").never(within=hours(1)), True),
        (event("project.created").at_least(2), True),
        (event("project.created").at_least(3), False),
        (event("project.created").at_least(2, within=days(7)), False),
        (event("other").happened(), False),
        (email("welcome").opened(), True),
        (email("welcome").opened(within=days(1)), False),
        (email("welcome").clicked(), False),
        (~email("welcome").clicked(), True),
    ],
)
async def test_a_history_condition(condition: Condition, held: bool) -> None:
    facts = Remembered(
        events=[("project.created", NOW - days(3)), ("project.created", NOW - days(30))],
        emails=[("welcome", "opened", NOW - days(2))],
    )
    assert (await evaluate(condition, facts)).held is held


async def test_the_verdict_says_what_was_asked_and_what_there_was() -> None:
    facts = Remembered({"plan": "free", "seats": "3"}, events=[("login", NOW - days(1))])
    assert await evaluate(prop("plan") == "pro", facts) == ConditionResult(
        False, 'event property plan is "pro"', 'event property plan is "free"'
    )
    assert (await evaluate(prop("seats") > 2, facts)).actual == 'event property seats is "3"'
    assert (await evaluate(prop("nothing").exists(), facts)).actual == "event property nothing is missing"
    assert await evaluate(event("login").at_least(2, within=days(7)), facts) == ConditionResult(
        False, "login happened at least 2 times within 7 days", "login happened once within 7 days"
    )
    both = await evaluate((prop("plan") == "free") & event("login").never(), facts)
    assert both == ConditionResult(
        False, 'event property plan is "free" and login never happened', "login happened once"
    )
    either = await evaluate((prop("plan") == "pro") | (user_prop("vip") == True), facts)  # noqa: E712
    assert either.actual == 'event property plan is "free"; contact property vip is missing'


async def test_history_is_asked_only_where_it_decides() -> None:
    facts = Remembered({"plan": "free"})
    await evaluate(event("login").happened() & (prop("plan") == "pro"), facts)
    await evaluate(event("login").happened() | (prop("plan") == "free"), facts)
    assert facts.asked == 0
    await evaluate(event("login").happened() & (prop("plan") == "free"), facts)
    assert facts.asked == 1


def test_history_cannot_be_asked_without_the_database() -> None:
    condition = (prop("plan") == "pro") & event("login").happened()
    assert not condition.only_properties
    with pytest.raises(JourneyError, match=r"asks for more: .*login happened"):
        matches_properties(condition, {"plan": "pro"}, {})


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (prop("plan") != "pro", 'event property plan is not "pro"'),
        (~(prop("amount") > 10), "event property amount is not more than 10"),
        (~prop("plan").exists(), "event property plan is missing"),
        (~~prop("plan").exists(), "event property plan is present"),
        (prop("plan").in_(["a", "b"]), 'event property plan is one of "a", "b"'),
        (event("x").never(within=days(1.5)), "x never happened within 1 day 12 hours"),
        (~event("x").at_least(3), "x happened fewer than 3 times"),
        (~email("welcome").opened(), "email welcome was not opened"),
        (
            (prop("a") == 1) & ((prop("b") == 2) | (prop("c") == 3)),
            "event property a is 1 and (event property b is 2 or event property c is 3)",
        ),
        (~((prop("a") == 1) & (prop("b") == 2)), "not (event property a is 1 and event property b is 2)"),
    ],
)
def test_a_condition_in_words(condition: Condition, words: str) -> None:
    assert condition.describe() == words


def test_lengths_of_time_in_words() -> None:
    assert spoken(days(7)) == "7 days"
    assert spoken(days(1) + hours(2) + minutes(1)) == "1 day 2 hours 1 minute"
    assert spoken(timedelta(seconds=0.5)) == "0.5 seconds"


_PATHS = st.sampled_from(["plan", "address.city", "seats"])
_WITHIN = st.none() | st.integers(1, 10**6).map(lambda n: timedelta(seconds=n))
_LEAVES = st.one_of(
    st.builds(lambda path, value: prop(path) == value, _PATHS, _SCALARS),
    st.builds(lambda path, value: user_prop(path) > value, _PATHS, st.integers()),
    st.builds(
        lambda path, values: prop(path).in_(values), _PATHS, st.lists(_SCALARS, min_size=1, max_size=3)
    ),
    st.builds(lambda path: prop(path).exists(), _PATHS),
    st.builds(lambda n, within: event("x").at_least(n, within=within), st.integers(1, 9), _WITHIN),
    st.builds(lambda within: email("welcome").clicked(within=within), _WITHIN),
)
_CONDITIONS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        inner.map(lambda c: ~c),
    ),
    max_leaves=6,
)


@given(_CONDITIONS)
def test_a_condition_survives_storage(condition: Condition) -> None:
    stored = json.loads(json.dumps(condition.to_json()))
    assert Condition.from_json(stored) == condition
    assert Condition.from_json(stored).describe() == condition.describe()


@given(_CONDITIONS, st.booleans(), st.integers(0, 9))
async def test_the_opposite_holds_exactly_where_the_condition_does_not(
    condition: Condition, clicked: bool, count: int
) -> None:
    facts = Remembered(
        {"plan": "pro", "seats": 3},
        {"seats": 3},
        [("x", NOW)] * count,
        [("welcome", "clicked", NOW)] if clicked else [],
    )
    verdict = await evaluate(condition, facts)
    assert (await evaluate(~condition, facts)).held is not verdict.held
    assert verdict.actual
    assert await evaluate(condition, facts) == verdict


@pytest.mark.parametrize(
    "stored", [{}, {"all": {}}, {"property": "a", "of": "moon", "operator": "eq"}, None, 7]
)
def test_what_was_never_stored_is_not_read(stored: object) -> None:
    with pytest.raises(JourneyError, match="no stored condition"):
        Condition.from_json(stored)


def test_a_trigger_and_its_wire_form() -> None:
    assert on("user.signed_up") == Trigger("user.signed_up")
    assert on("user.signed_up").to_json() == {"event": "user.signed_up"}
    assert on("user.signed_up", where={"plan": "pro"}) == on("user.signed_up", where=prop("plan") == "pro")
    assert on("user.signed_up", where={}).where is None
    assert on("a", where={"plan": "pro", "seats": 3}).to_json() == {
        "event": "a",
        "where": {
            "all": [
                {"property": "plan", "of": "event", "operator": "eq", "value": "pro"},
                {"property": "seats", "of": "event", "operator": "eq", "value": 3},
            ]
        },
    }


@pytest.mark.parametrize(
    ("mistake", "lesson"),
    [
        (lambda: on(""), "no event name"),
        (lambda: on(" user.signed_up"), "no event name"),
        (lambda: on("a\nb"), "no event name"),
        (lambda: on("a" * 201), "longer than 200"),
        (lambda: on("a", where="plan"), 'write where={"plan": "pro"}'),
        (lambda: on("a", where=prop("plan")), r"prop\('plan'\) == …"),
        (lambda: on("a", where={"plan": ["pro"]}), "not with"),
        (lambda: prop(""), "no property"),
        (lambda: prop("address..city"), "no property"),
        (lambda: prop("plan") == None, r"write prop\('plan'\).exists"),  # noqa: E711 - the mistake itself
        (lambda: prop("n") > True, "write == True"),
        (lambda: prop("n") == float("nan"), "can be compared with"),
        (lambda: prop("plan").in_("pro"), "give a list"),
        (lambda: prop("plan").in_([]), "never holds"),
        (lambda: prop("a") == 1 & prop("b") == 2, "put each comparison in brackets"),
        (lambda: prop("a") | (prop("b") == 2), "put each comparison in brackets"),
        (lambda: (prop("a") == 1) & True, "put each comparison in brackets"),
        (lambda: event("x").at_least(0), "from 1 up"),
        (lambda: event("x").happened(within=7), r"within=days\(7\)"),
        (lambda: event("x").happened(within=days(0)), "longer than zero"),
        (lambda: email(""), "name a template"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(mistake: Callable[[], object], lesson: str) -> None:
    with pytest.raises(JourneyError, match=lesson):
        mistake()


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: (prop("a") == 1) and (prop("b") == 2),
        lambda: not (prop("a") > 1),
        lambda: 1 < prop("a") < 9,
        lambda: prop("a") or prop("b"),
    ],
)
def test_a_condition_is_not_true_or_false_by_itself(mistake: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"combine conditions with & \| ~ instead of"):
        mistake()
