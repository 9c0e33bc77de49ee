"""The routes of the data plane, in the order of the contract. Each takes scope ingest."""

from __future__ import annotations

from hogsend.rest.data_plane import contacts, emails, events
from hogsend.rest.data_plane.route import DataRoute

ROUTES: tuple[DataRoute, ...] = (*events.ROUTES, *contacts.ROUTES, *emails.ROUTES)

routes = [route.for_starlette() for route in ROUTES]
