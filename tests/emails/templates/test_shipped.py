"""The templates that ship: each works with nothing known, and shows what is known."""

from __future__ import annotations

from typing import Any

import pytest

from hogsend.emails.templates.render import Templates
from hogsend.settings import Settings

SHIPPED = [
    "activation-congrats",
    "activation-nudge",
    "payment-failed",
    "payment-final-notice",
    "payment-reminder",
    "trial-ended",
    "trial-ending",
    "trial-upgraded",
    "welcome",
]


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates.load(Settings.model_fields["templates"].default)


def variables(
    properties: dict[str, Any], props: dict[str, Any], unsubscribe: str | None = "u"
) -> dict[str, Any]:
    return {
        "contact": {"id": None, "external_id": None, "email": "ada@example.com", "properties": properties},
        "props": props,
        "unsubscribe_url": unsubscribe and "http://h.test/v1/email/unsubscribe?token=u",
        "preferences_url": "http://h.test/v1/email/preferences?token=p",
        "base_url": "http://h.test",
    }


def test_these_ship(templates: Templates) -> None:
    assert templates.keys() == SHIPPED


@pytest.mark.parametrize("key", SHIPPED)
@pytest.mark.parametrize(
    ("properties", "props"),
    [
        ({}, {}),
        ({"first_name": None}, {"amount": None, "days_left": None, "invoice": None, "plan": None}),
        (
            {"first_name": "Ada"},
            {"amount": "49,00", "days_left": "3", "invoice": 17, "plan": "pro", "project": "X"},
        ),
    ],
)
def test_each_renders_with_whatever_is_known(
    templates: Templates, key: str, properties: dict[str, Any], props: dict[str, Any]
) -> None:
    rendered = templates.render(key, variables(properties, props))
    assert rendered.subject
    assert rendered.preview
    for part in (rendered.subject, rendered.preview, rendered.text):
        assert "None" not in part
        assert "{{" not in part
    assert "https://app.example.com/" in rendered.text


@pytest.mark.parametrize("key", SHIPPED)
def test_each_offers_a_way_out_where_there_is_one(templates: Templates, key: str) -> None:
    assert (
        "Unsubscribe: http://h.test/v1/email/unsubscribe?token=u"
        in templates.render(key, variables({}, {})).text
    )
    without = templates.render(key, variables({}, {}, unsubscribe=None))
    assert "Unsubscribe" not in without.text
    assert "Choose what you receive: http://h.test/v1/email/preferences?token=p" in without.text


def test_what_is_owed_is_shown(templates: Templates) -> None:
    rendered = templates.render(
        "payment-failed",
        variables({"first_name": "Ada"}, {"invoice": "INV-7", "amount": 49, "currency": "€"}),
    )
    assert rendered.subject == "Your payment did not go through (INV-7)"
    assert "INV-7" in rendered.text
    assert "€49.00" in rendered.text
    assert "Hello Ada, we could not" in rendered.text


def test_days_left_are_counted(templates: Templates) -> None:
    def subject(days: int) -> str:
        return templates.render("trial-ending", variables({}, {"days_left": days})).subject

    assert [subject(1), subject(3)] == ["Your trial ends in 1 day", "Your trial ends in 3 days"]
