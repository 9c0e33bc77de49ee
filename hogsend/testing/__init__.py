"""Run a journey in a plain pytest: virtual time, a scripted person, captured emails, no server, milliseconds.

def test_those_who_start_a_project_are_congratulated():
    run = rehearse(activation_welcome, happens=[after(days(1), "project.created")])
    assert run.sent == ["welcome", "activation-congrats"]
"""

from hogsend.testing.rehearsal import Rehearsal, rehearse, rehearse_async
from hogsend.testing.script import (
    PastEmail,
    PastRun,
    after,
    before,
    bounced,
    clicked,
    complained,
    down,
    opened,
    refused,
    unsubscribed,
    updated,
)
from hogsend.testing.world import SentEmail

__all__ = [
    "PastEmail",
    "PastRun",
    "Rehearsal",
    "SentEmail",
    "after",
    "before",
    "bounced",
    "clicked",
    "complained",
    "down",
    "opened",
    "refused",
    "rehearse",
    "rehearse_async",
    "unsubscribed",
    "updated",
]
