"""A process that knows the journey under test: the one that faults are tried on."""

from tests.faults.conftest import running

__all__ = ["running"]
