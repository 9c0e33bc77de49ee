"""A runtime that knows the test's own journeys, as the faults have it."""

from tests.faults.conftest import running as running
