"""A process that takes webhooks, and is in development."""

from __future__ import annotations

import pytest

from hogsend.settings import Settings
from tests.standins.resend import WEBHOOK_SECRET


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {
        "resend_webhook_secret": WEBHOOK_SECRET,
        "posthog_webhook_secret": "posthog-secret",
        "dev": True,
    }
    return Settings(**{**settings.model_dump(), **changes})
