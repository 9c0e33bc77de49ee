"""People, sends and the public routes, as the tests about email have them."""

from tests.emails.conftest import person, prepared, settings, site

__all__ = ["person", "prepared", "settings", "site"]
