"""Admin routes that operate journeys, runs, emails and events: switch, enroll, cancel, resend, replay."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hogsend.clock import instant_text
from hogsend.operations.enroll import MAX_BATCH
from hogsend.rest.models import Body, Instant, Properties
from hogsend.rest.shapes import word
from hogsend.rest.table import AdminRoute, Named, RequestInput

ERRORS = "userErrors { field message code }"


class SwitchIn(Body):
    """The override of what the code says."""

    enabled: bool = Field(description="Whether people may enter")


class EnrollIn(Body):
    """Somebody to let in."""

    user_id: str = Field(description="The person's id in your product")
    user_email: str = Field(description="The person's email address")
    properties: Properties | None = Field(None, description="Of the trigger event")


class EnrollBatchIn(Body):
    """People to let in."""

    users: list[EnrollIn] = Field(
        description="Each with a verdict of their own", min_length=1, max_length=MAX_BATCH
    )


class ReplayFilter(Body):
    """Which events, by what they are."""

    event: str | None = Field(None, description="With this name")
    user_id: str | None = Field(None, description="Of the contact with this externalId or UUID")
    from_: Instant | None = Field(None, alias="from", description="That happened then or later")
    to: Instant | None = Field(None, description="That happened then or before")


class ReplayIn(Body):
    """One of eventIds and filter."""

    event_ids: list[str] | None = Field(None, description="These events")
    filter: ReplayFilter | None = Field(None, description="The events that fit")
    limit: int | None = Field(None, description="At most so many, the oldest first", ge=1, le=1000)


def _switched(data: dict[str, Any], _given: RequestInput) -> Any:
    payload = data.get("journeyEnable") or data["journeyDisable"]
    return {"journey": payload["journey"]}


def _cancelled(data: dict[str, Any], _given: RequestInput) -> Any:
    payload = data["journeyStateCancel"]
    state = payload["state"]
    return {
        "state": state | {"status": word(state["status"])},
        "hatchetCancelled": payload["cancelledInEngine"],
    }


def _person(body: EnrollIn) -> dict[str, Any]:
    return {"userId": body.user_id, "userEmail": body.user_email, "properties": body.properties}


def _enrolled(data: dict[str, Any], given: RequestInput) -> Any:
    event = data["journeyEnroll"]["event"]["name"]
    return {"enrolled": True, "event": event, "userId": given.body.user_id}


def _enrolled_all(data: dict[str, Any], _given: RequestInput) -> Any:
    payload = data["journeyEnrollBatch"]
    results = [
        Named(
            {key: value for key, value in one.items() if key != "reason" or value is not None}, "EnrollResult"
        )
        for one in payload["results"]
    ]
    return {"enrolled": payload["enrolled"], "skipped": payload["skipped"], "results": results}


def _resent(data: dict[str, Any], _given: RequestInput) -> Any:
    email = data["emailResend"]["email"]
    return {"emailId": email["id"], "status": word(email["status"])}


def _chosen(given: RequestInput) -> dict[str, Any]:
    body: ReplayIn = given.body
    chosen: dict[str, Any] = {"eventIds": body.event_ids}
    if body.filter is not None:
        start, end = body.filter.from_, body.filter.to
        chosen["filter"] = {
            "event": body.filter.event,
            "userId": body.filter.user_id,
            "from": None if start is None else instant_text(start),
            "to": None if end is None else instant_text(end),
        }
    return {"input": chosen | ({} if body.limit is None else {"limit": body.limit})}


ROUTES = (
    AdminRoute(
        "PATCH /journeys/{id}",
        "Enable or disable a journey, whatever the code says",
        f"""
        mutation ($id: ID!, $on: Boolean!) {{
          journeyEnable(input: {{ id: $id }}) @include(if: $on) {{ journey {{ ...JourneySwitch }} {ERRORS} }}
          journeyDisable(input: {{ id: $id }}) @skip(if: $on) {{ journey {{ ...JourneySwitch }} {ERRORS} }}
        }}
        fragment JourneySwitch on Journey {{ id: key name enabled updatedAt }}
        """,
        _switched,
        take=lambda given: {"id": given.path["id"], "on": given.body.enabled},
        body=SwitchIn,
        not_found="Journey",
    ),
    AdminRoute(
        "DELETE /journeys/{id}/states/{stateId}",
        "End a run for good",
        f"""
        mutation ($id: ID!, $journeyId: ID!) {{
          journeyStateCancel(input: {{ id: $id, journeyId: $journeyId }}) {{
            state {{ ...CancelledState }} cancelledInEngine {ERRORS}
          }}
        }}
        fragment CancelledState on JourneyState {{ id: uuid status exitedAt }}
        """,
        _cancelled,
        take=lambda given: {"id": given.path["stateId"], "journeyId": given.path["id"]},
        not_found="Journey state",
    ),
    AdminRoute(
        "POST /journeys/{id}/enroll",
        "Let a journey's trigger event happen to somebody",
        f"""
        mutation ($input: JourneyEnrollInput!) {{ journeyEnroll(input: $input) {{ event {{ name }} {ERRORS} }} }}
        """,
        _enrolled,
        take=lambda given: {"input": {"id": given.path["id"], **_person(given.body)}},
        body=EnrollIn,
        status=202,
        not_found="Journey",
    ),
    AdminRoute(
        "POST /journeys/{id}/enroll/batch",
        f"The same for 1 to {MAX_BATCH} people, each with a verdict",
        f"""
        mutation ($input: JourneyEnrollBatchInput!) {{
          journeyEnrollBatch(input: $input) {{
            enrolled skipped results {{ userId enrolled reason }} {ERRORS}
          }}
        }}
        """,
        _enrolled_all,
        take=lambda given: {
            "input": {"id": given.path["id"], "users": [_person(one) for one in given.body.users]}
        },
        body=EnrollBatchIn,
        not_found="Journey",
    ),
    AdminRoute(
        "POST /emails/{id}/resend",
        "Render a failed or bounced email again and send it, as a new send",
        f"""
        mutation ($id: ID!) {{
          emailResend(input: {{ id: $id }}) {{ email {{ id: uuid status }} {ERRORS} }}
        }}
        """,
        _resent,
        status=202,
        not_found="Email",
    ),
    AdminRoute(
        "POST /events/replay",
        "Send stored events through the pipeline again",
        f"""
        mutation ($input: EventsReplayInput!) {{
          eventsReplay(input: $input) {{ replayed errors {{ ...ReplayError }} {ERRORS} }}
        }}
        fragment ReplayError on EventsReplayError {{ eventId error }}
        """,
        lambda data, _given: {name: data["eventsReplay"][name] for name in ("replayed", "errors")},
        take=_chosen,
        body=ReplayIn,
    ),
)
