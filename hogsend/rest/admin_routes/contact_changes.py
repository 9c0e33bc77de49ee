"""Admin routes that change contacts: create, update, delete, preferences, import."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hogsend.rest.models import Body, Properties
from hogsend.rest.shapes import CONTACT, PREFERENCES, found, word
from hogsend.rest.table import LONGEST_INNER_LIST, AdminRoute, RequestInput

ERRORS = "userErrors { field message code }"


class ContactCreate(Body):
    """A contact to make."""

    external_id: str = Field(description="The id that your product knows it by", min_length=1)
    email: str | None = Field(None, description="Its email address; it is trimmed and lower-cased")
    properties: Properties | None = Field(None, description="What is known of it")


class ContactChange(Body):
    """What to change; what is left out stays as it is."""

    email: str | None = Field(None, description="Its new address; null takes it away")
    properties: Properties | None = Field(
        None, description="Merged into the properties at the top level; null removes one"
    )


class PreferencesChange(Body):
    """What a contact agreed to; what is left out stays as it is."""

    unsubscribed_all: bool | None = Field(None, description="Wants no email but transactional ones")
    suppressed: bool | None = Field(None, description="Is not written to at all; false lifts bounces too")
    categories: dict[str, bool] | None = Field(None, description="`{category: subscribed}`, merged")


class ImportIn(Body):
    """A file of contacts."""

    format: Literal["csv", "json"] = Field(description="How it is written")
    data: str = Field(description="The file itself")
    file_name: str | None = Field(None, description="What it is called, to show")


def _created(given: RequestInput) -> dict[str, Any]:
    body: ContactCreate = given.body
    return {
        "input": {"externalId": body.external_id, "email": body.email, "properties": body.properties},
    }


def _changed(given: RequestInput) -> dict[str, Any]:
    body: ContactChange = given.body
    email = {"email": body.email} if "email" in body.model_fields_set else {}
    return {"input": {"by": {"ref": given.path["id"]}, "properties": body.properties, **email}}


def _agreed(given: RequestInput) -> dict[str, Any]:
    body: PreferencesChange = given.body
    return {
        "input": {
            "by": {"ref": given.path["id"]},
            "unsubscribedAll": body.unsubscribed_all,
            "suppressed": body.suppressed,
            "categories": body.categories,
        }
    }


def _imported(given: RequestInput) -> dict[str, Any]:
    body: ImportIn = given.body
    return {
        "input": {"format": body.format.upper(), "data": body.data, "fileName": body.file_name},
    }


def _started(data: dict[str, Any], _given: RequestInput) -> Any:
    job = data["contactsImport"]["job"]
    return {"jobId": job["id"], "status": word(job["status"])}


def _job(data: dict[str, Any], _given: RequestInput) -> Any:
    job = found(data, "importJob", "Import job")
    return job | {"status": word(job["status"]), "errors": job["errors"]["nodes"]}


ROUTES = (
    AdminRoute(
        "POST /contacts",
        "Make a contact",
        CONTACT
        + f"""
        mutation ($input: ContactCreateInput!) {{
          contactCreate(input: $input) {{ contact {{ ...Contact }} {ERRORS} }}
        }}
        """,
        lambda data, _given: {"contact": data["contactCreate"]["contact"]},
        take=_created,
        body=ContactCreate,
        status=201,
    ),
    AdminRoute(
        "POST /contacts/import",
        "Take a file of contacts in, in the background",
        f"""
        mutation ($input: ContactsImportInput!) {{
          contactsImport(input: $input) {{ job {{ id: uuid status }} {ERRORS} }}
        }}
        """,
        _started,
        take=_imported,
        body=ImportIn,
        status=202,
    ),
    AdminRoute(
        "GET /contacts/import/{jobId}",
        "How far an import is, and its bad rows",
        """
        query ($id: ID!, $most: Int!) {
          importJob(id: $id) {
            ...ImportJob
          }
        }
        fragment ImportJob on ImportJob {
          id: uuid status totalRows processedRows failedRows errors(first: $most) { nodes { row error } }
        }
        """,
        _job,
        take=lambda given: {"id": given.path["jobId"], "most": LONGEST_INNER_LIST},
        not_found="Import job",
    ),
    AdminRoute(
        "PATCH /contacts/{id}",
        "Change a contact's address or properties",
        CONTACT
        + f"""
        mutation ($input: ContactUpdateInput!) {{
          contactUpdate(input: $input) {{ contact {{ ...Contact }} {ERRORS} }}
        }}
        """,
        lambda data, _given: {"contact": data["contactUpdate"]["contact"]},
        take=_changed,
        body=ContactChange,
        not_found="Contact",
    ),
    AdminRoute(
        "DELETE /contacts/{id}",
        "Delete a contact: its runs end, and nothing more is sent to it",
        f"""
        mutation ($id: String!) {{ contactDelete(input: {{ by: {{ ref: $id }} }}) {{ {ERRORS} }} }}
        """,
        lambda _data, _given: {"deleted": True},
        not_found="Contact",
    ),
    AdminRoute(
        "PUT /contacts/{id}/preferences",
        "Say what a contact agreed to",
        PREFERENCES
        + f"""
        mutation ($input: ContactPreferencesUpdateInput!) {{
          contactPreferencesUpdate(input: $input) {{ preferences {{ ...Preferences }} {ERRORS} }}
        }}
        """,
        lambda data, _given: {"preferences": data["contactPreferencesUpdate"]["preferences"]},
        take=_agreed,
        body=PreferencesChange,
        not_found="Contact",
    ),
)
