"""Admin routes of API keys and of the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from hogsend.access.audit import Action, Resource
from hogsend.access.caller import Scope
from hogsend.clock import instant_text
from hogsend.rest.models import Body, Instant
from hogsend.rest.params import FROM, PAGE, TO, Choice, Flag, Param, Text
from hogsend.rest.shapes import Node, listing
from hogsend.rest.table import AdminRoute, Named, RequestInput

KEY = """
fragment ApiKey on ApiKey { id: uuid name keyPrefix scopes expiresAt revokedAt lastUsedAt createdAt }
"""


class ApiKeyIn(Body):
    """A key to make."""

    name: str = Field(description="What to call it; the audit log names it as the actor")
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(description="What it opens", min_length=1)
    expires_at: Instant | None = Field(None, description="When it stops working; never where it is left out")


def _words(names: list[str]) -> list[str]:
    """Scopes as the contract writes them: `JOURNEY_ADMIN` is `journey-admin`."""
    return [_word(name) for name in names]


def _word(name: str) -> str:
    return name.lower().replace("_", "-")


def _key(node: Node) -> Node:
    return node | {"scopes": _words(node["scopes"])}


def _made(data: dict[str, Any], _given: RequestInput) -> Node:
    payload = data["apiKeyCreate"]
    key = _key(payload["apiKey"])
    made = {
        "id": key["id"],
        "name": key["name"],
        "key": payload["secret"],
        "keyPrefix": key["keyPrefix"],
        "scopes": key["scopes"],
        "expiresAt": key["expiresAt"],
        "createdAt": key["createdAt"],
    }
    return Named(made, "NewApiKey")


def _self(data: dict[str, Any], _given: RequestInput) -> Node:
    viewer: Node = data["viewer"]
    return viewer | {"scopes": _words(viewer["scopes"])}


def _making(given: RequestInput) -> dict[str, Any]:
    body: ApiKeyIn = given.body
    return {
        "input": {
            "name": body.name,
            "scopes": [scope.name for scope in body.scopes],
            "expiresAt": None if body.expires_at is None else instant_text(body.expires_at),
        }
    }


def _entry(node: Node) -> Node:
    return node | {"action": _word(node["action"]), "resource": _word(node["resource"])}


def _filter(given: RequestInput) -> dict[str, Any]:
    names = ("actor", "resource", "action", "from", "to")
    return given.page | {"filter": {name: given.query[name] for name in names}}


ROUTES = (
    AdminRoute(
        "GET /api-keys/self",
        "The key that is calling",
        "query { viewer { ...KeySelf } } fragment KeySelf on Viewer { id: uuid name scopes }",
        _self,
    ),
    AdminRoute(
        "GET /api-keys",
        "Keys, newest first",
        KEY
        + """
        query ($revoked: Boolean!, $first: Int, $offset: Int) {
          apiKeys(includeRevoked: $revoked, first: $first, offset: $offset) { totalCount nodes { ...ApiKey } }
        }
        """,
        listing("apiKeys", "keys", _key),
        take=lambda given: given.page | {"revoked": given.query["includeRevoked"] or False},
        query=(Param("includeRevoked", Flag(), "Whether revoked ones are listed too"), *PAGE),
    ),
    AdminRoute(
        "POST /api-keys",
        "Make a key; its secret is shown once",
        KEY
        + """
        mutation ($input: ApiKeyCreateInput!) {
          apiKeyCreate(input: $input) { apiKey { ...ApiKey } secret userErrors { field message code } }
        }
        """,
        _made,
        take=_making,
        body=ApiKeyIn,
        status=201,
    ),
    AdminRoute(
        "DELETE /api-keys/{id}",
        "Revoke a key: it is refused everywhere at once",
        """
        mutation ($id: ID!) {
          apiKeyRevoke(input: { id: $id }) { userErrors { field message code } }
        }
        """,
        lambda _data, _given: {"revoked": True},
        not_found="API key",
    ),
    AdminRoute(
        "GET /audit-logs",
        "The audit log, newest first",
        """
        query ($filter: AuditFilter!, $first: Int, $offset: Int) {
          auditLog(filter: $filter, first: $first, offset: $offset) {
            totalCount
            nodes { ...AuditLog }
          }
        }
        fragment AuditLog on AuditEntry {
          id: uuid actor actorKeyId: keyUuid action resource resourceId detail ipAddress createdAt
        }
        """,
        listing("auditLog", "logs", _entry),
        take=_filter,
        query=(
            Param("actor", Text(), "Asked by a key of this name; `legacy` is ADMIN_API_KEY"),
            Param("resource", Choice(tuple(Resource)), "Done to this kind of thing"),
            Param("action", Choice(tuple(Action)), "Of this kind"),
            FROM,
            TO,
            *PAGE,
        ),
    ),
)
