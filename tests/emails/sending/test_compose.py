"""The frozen message: tracked, tagged, with a way out, and the same bytes each time."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson
import pytest

from hogsend.consent import tokens
from hogsend.emails.providers import Message
from hogsend.emails.sending.compose import Composed, compose
from hogsend.emails.sending.request import EmailRequest
from hogsend.emails.templates.render import TemplateNotFound
from hogsend.emails.tracking.links import track_links
from hogsend.runtime import Runtime

EMAIL_ID = UUID("0190f000-0000-7000-8000-000000000001")
CONTACT: dict[str, Any] = {
    "id": UUID("0190f000-0000-7000-8000-000000000002"),
    "external_id": "u1",
    "email": "ada@example.com",
    "properties": {"first_name": "Ada"},
}


def composed(runtime: Runtime, template: str = "welcome", **values: Any) -> Composed:
    of_compose = {name: values.pop(name) for name in ("contact", "journey_id") if name in values}
    request = EmailRequest(template, **values)
    return compose(runtime, request, email_id=EMAIL_ID, **{"contact": CONTACT, **of_compose})


def test_every_link_is_tracked_but_the_way_out(runtime: Runtime) -> None:
    it = composed(runtime)
    hrefs = re.findall(r'<a\b[^>]*href="([^"]*)"', it.message.html)
    ours = [href for href in hrefs if "/v1/email/" in href]
    tracked = [href for href in hrefs if "/v1/t/c/" in href]
    assert [link.url for link in it.links] == ["https://app.example.com/projects/new"]
    assert tracked == [f"http://hogsend.test/v1/t/c/{link.id}" for link in it.links]
    assert len(ours) == 2
    assert len(tracked) + len(ours) + 1 == len(hrefs)  # The one left is mailto.
    assert "https://app.example.com/projects/new" in it.message.text


def test_the_pixel_is_the_last_thing_in_the_page(runtime: Runtime) -> None:
    page = composed(runtime).message.html
    assert re.search(rf'<img src="http://hogsend\.test/v1/t/o/{EMAIL_ID}"[^>]*></body>', page)


def test_composing_again_gives_the_same_bytes_through_the_database_too(runtime: Runtime) -> None:
    one, two = composed(runtime), composed(runtime)
    assert one == two
    shuffled = dict(reversed(one.message.to_json().items()))
    thawed = Message.from_json(orjson.loads(orjson.dumps(shuffled)))
    assert orjson.dumps(thawed.to_json()) == orjson.dumps(one.message.to_json())
    assert thawed.fingerprint() == one.message.fingerprint()


def test_the_mail_client_gets_its_own_unsubscribe_button(runtime: Runtime) -> None:
    headers = composed(runtime).message.headers
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    url = headers["List-Unsubscribe"].removeprefix("<").removesuffix(">")
    token = parse_qs(urlsplit(url).query)["token"][0]
    reader = tokens.read(runtime.settings.secret_key, runtime.clock, token)
    assert reader == tokens.ReaderToken("ada@example.com", CONTACT["id"], EMAIL_ID, "onboarding")


def test_transactional_email_has_no_way_out_but_its_preferences(runtime: Runtime) -> None:
    it = composed(runtime, "payment-failed")
    assert it.category == "transactional"
    assert "List-Unsubscribe" not in it.message.headers
    assert "/v1/email/unsubscribe" not in it.message.html
    assert "/v1/email/preferences" in it.message.html


def test_what_is_given_outranks_the_template(runtime: Runtime) -> None:
    it = composed(
        runtime,
        subject="Other\nwords",
        from_email="Eve <eve@example.com>",
        reply_to="help@example.com",
        category="news",
        journey_id="a-journey",
    )
    assert (it.message.subject, it.message.from_email, it.category) == (
        "Other words",
        "Eve <eve@example.com>",
        "news",
    )
    assert (it.message.subject, it.message.reply_to) == ("Other words", "help@example.com")
    assert it.message.tags == {
        "email_id": str(EMAIL_ID),
        "template": "welcome",
        "category": "news",
        "journey": "a-journey",
    }


def test_an_address_that_nobody_holds_can_be_written_to(runtime: Runtime) -> None:
    stranger: dict[str, Any] = {"id": None, "external_id": None, "email": "eve@example.com", "properties": {}}
    assert composed(runtime, contact=stranger).message.to == "eve@example.com"


def test_tags_hold_only_what_providers_take(runtime: Runtime) -> None:
    assert (
        composed(runtime, category="Ünter/haltung & mehr").message.tags["category"] == "_nter_haltung___mehr"
    )


def test_an_unknown_template_is_refused(runtime: Runtime) -> None:
    with pytest.raises(TemplateNotFound):
        composed(runtime, "nothing")


@pytest.mark.parametrize(
    ("page", "urls"),
    [
        ('<a href="https://a.example/?x=1&amp;y=2">a</a>', ["https://a.example/?x=1&y=2"]),
        ("<a class='x>y' href='http://a.example'>a</a>", ["http://a.example"]),
        ('<A title="a > b" HREF = "HTTPS://a.example">a</A>', ["HTTPS://a.example"]),
        ('<a data-href="https://no.example" href="https://a.example">a</a>', ["https://a.example"]),
        ('<a href="https://a.example">1</a><a href="https://a.example">2</a>', ["https://a.example"] * 2),
        ('<a href="mailto:a@example.com">a</a><a href="#x">b</a><a href="tel:1">c</a><a name="d">d</a>', []),
        ('<a href="javascript:alert(1)">a</a>', []),
        ('<a href="http://h.test/v1/email/unsubscribe?token=x">out</a>', []),
        ('<a href="http://h.test.evil.example/v1/">a</a>', ["http://h.test.evil.example/v1/"]),
        ('<link href="https://a.example/x.css"><abbr href="https://a.example">a</abbr>', []),
    ],
)
def test_which_links_are_tracked(page: str, urls: list[str]) -> None:
    tracked, links = track_links(page, EMAIL_ID, "http://h.test")
    assert [link.url for link in links] == urls
    assert [link.position for link in links] == list(range(len(urls)))
    assert tracked.count("http://h.test/v1/t/c/") == len(urls)
    if not urls:
        assert tracked == page
