"""A process that takes webhooks, and is in development, as the tests about email have it."""

from tests.emails.conftest import settings as settings
