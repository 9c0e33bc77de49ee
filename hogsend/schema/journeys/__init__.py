"""Journeys and their runs as GraphQL shows them."""
