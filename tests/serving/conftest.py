"""Ask GraphQL questions, as the tests of its kit do."""

from tests.graphql.conftest import ask, happen

__all__ = ["ask", "happen"]
