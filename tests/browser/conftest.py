"""People and sends, as the tests about email have them."""

from tests.emails.conftest import person, prepared

__all__ = ["person", "prepared"]
