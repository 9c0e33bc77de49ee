"""Contacts as GraphQL shows them."""
