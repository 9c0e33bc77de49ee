"""The pages that people open, in a real browser: they render, they work, and the console has no error to tell."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hogsend.emails.sending.protocol import deliver
from hogsend.runtime import Runtime
from hogsend.settings import Settings
from tests.browser.devtools import CHROMIUM, Browser, Page, open_browser
from tests.fixtures.emails import MakePerson, Prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium on the PATH"),
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As in development: the inbox is served and filled, and GraphiQL knows the key."""
    return Settings(**{**settings.model_dump(), "dev": True, "email_provider": "inbox"})


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with open_browser(tmp_path) as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """A tab. HOGSEND_PICTURES names a folder for a picture of it as the test left it."""
    async with browser.page() as page:
        yield page
        if folder := os.environ.get("HOGSEND_PICTURES"):
            (Path(folder) / f"{request.node.name}.png").write_bytes(await page.picture())


async def test_graphiql_runs_its_first_example(page: Page, live_server: str) -> None:
    await page.open(f"{live_server}/graphql")
    await page.until("document.querySelector('.graphiql-execute-button') !== null")
    # The schema has arrived when the page can complete a field; the button then runs what stands in the first tab.
    await page.until("document.querySelector('.graphiql-query-editor .CodeMirror') !== null")
    await page.value("document.querySelector('.graphiql-execute-button').click()")
    await page.until("/\"data\": /.test(document.querySelector('.result-window').innerText)")
    shown = await page.value("document.querySelector('.result-window').innerText")
    assert '"errors"' not in shown
    assert page.errors == []


async def test_the_reference_of_rest_shows_every_route(page: Page, live_server: str) -> None:
    await page.open(f"{live_server}/docs")
    await page.until("document.querySelectorAll('.opblock').length > 0")
    documented = (
        "fetch('/openapi.json').then(r => r.json())"
        ".then(spec => Object.values(spec.paths).flatMap(path => Object.keys(path)).length)"
    )
    await page.until(f"{documented}.then(n => n === document.querySelectorAll('.opblock').length)")
    assert await page.value("document.querySelector('.info .title').innerText.startsWith('Hogsend')")
    assert page.errors == []


async def test_the_inbox_shows_a_message_as_its_reader_sees_it(
    page: Page, live_server: str, runtime: Runtime, person: MakePerson, prepared: Prepare
) -> None:
    await deliver(runtime, await prepared(await person("ada@example.com")))
    await page.open(f"{live_server}/dev/inbox")
    await page.until("document.body.innerText.includes('ada@example.com')")
    await page.value("[...document.querySelectorAll('a')].find(a => a.innerText.includes('ada@')).click()")
    await page.until("document.querySelector('iframe') !== null")
    await page.until("document.readyState === 'complete'")
    assert "Welcome: here is where to start" in await page.value("document.body.innerText")
    assert page.errors == []
