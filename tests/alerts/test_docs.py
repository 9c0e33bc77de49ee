"""`docs/alerts.md`: each type and each kind of finding has a line; its recipe takes what is ours and nothing else."""

from __future__ import annotations

import re

from standardwebhooks.webhooks import Webhook

from hogsend.alerts.channels import new_secret
from hogsend.alerts.rule_types import RULE_WORDS
from hogsend.clock import ManualClock
from hogsend.tables.alerts import FINDINGS
from tests.alerts.evaluating import PAGE, recipe


def test_each_type_and_each_kind_of_finding_has_a_line() -> None:
    lines = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert [word for word in lines if word in RULE_WORDS] == list(RULE_WORDS)
    assert [word for word in lines if word.isupper()] == [kind.upper() for kind in FINDINGS]


def test_the_recipe_refuses_what_is_old_changed_or_signed_by_another(clock: ManualClock) -> None:
    secret, body, at = new_secret(), b'{"event": "alert.fired"}', clock.now()
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": f"v1,AAAA {Webhook(secret).sign('1', at, body.decode())}",
    }
    check, now = recipe(), at.timestamp()
    assert check(secret, headers, body, now=now)
    assert not check(secret, headers, body), "by the clock of the machine it is old"
    assert not check(secret, headers, body, now=now + 301)
    assert not check(secret, headers, body + b" ", now=now)
    assert not check(secret, headers | {"webhook-id": "2"}, body, now=now)
    assert not check(new_secret(), headers, body, now=now)
