"""Run a journey in a plain pytest: virtual time, a scripted person, captured emails, no server, milliseconds.

def test_those_who_start_a_project_are_congratulated():
    run = rehearse(activation_welcome, happens=[after(days(1), "project.created")])
    assert run.sent == ["welcome", "activation-congrats"]
"""

from hogsend.testing.rehearsal import Rehearsal, rehearse, rehearse_async
from hogsend.testing.script import PastRun, after, before, clicked, opened, unsubscribed, updated
from hogsend.testing.world import SentEmail

__all__ = [
    "PastRun",
    "Rehearsal",
    "SentEmail",
    "after",
    "before",
    "clicked",
    "opened",
    "rehearse",
    "rehearse_async",
    "unsubscribed",
    "updated",
]
