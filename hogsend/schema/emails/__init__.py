"""Emails, templates and suppressions as GraphQL shows them."""
