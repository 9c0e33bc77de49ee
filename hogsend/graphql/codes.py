"""Error codes of mutations: every code that a `userErrors` entry may carry, once, with what it means."""

from __future__ import annotations

from enum import Enum

from hogsend.graphql.enums import described_enum

NOT_FOUND = "NOT_FOUND"
WRONG_INPUT = {
    "INVALID": "A field has a value that it does not take.",
    NOT_FOUND: "What the input names does not exist.",
    "NO_EMAIL_ADDRESS": "The contact has no email address that preferences could be about.",
    "EXPIRY_IN_PAST": "It would have expired already.",
    "TEMPLATE_NOT_FOUND": "There is no such template.",
    "RENDERING_FAILED": "The template cannot be rendered with these props.",
    "IDEMPOTENCY_KEY_REUSED": "The key was used before with another input.",
}
# What a `Conflict` may carry, and nothing else: REST answers these with 409.
CONFLICTS = {
    "EXTERNAL_ID_TAKEN": "Another contact has this externalId, now or as an alias.",
    "EMAIL_TAKEN": "Another contact has this email address, now or as an alias.",
    "NOT_RETRIABLE": "It neither failed nor bounced, or it was sent again already.",
    "NO_TEMPLATE": "It was not made from a template, so it cannot be rendered again.",
    "ALREADY_ENDED": "The run has ended already.",
    "NOT_PENDING": "It was retried or discarded already.",
    "MOVED_ON": "What it stands for is gone, or went on without it.",
    "NOT_STUCK": "The run is neither blocked nor failed.",
    "NOTHING_TO_SKIP": "The run is stuck in no step: its own code raised, or its journey is gone.",
    "ALREADY_IN_JOURNEY": "The person is in another run of this journey meanwhile.",
    "IN_PROGRESS": "The first call with this key is still under way.",
}
IDEMPOTENCY = ("IDEMPOTENCY_KEY_REUSED", "IN_PROGRESS")
_MEANINGS = WRONG_INPUT | CONFLICTS


def error_codes(mutation: str, codes: tuple[str, ...]) -> type[Enum]:
    """The GraphQL enum of `mutation`'s error codes. Raises `KeyError` for a code without a meaning."""
    name = f"{mutation[0].upper()}{mutation[1:]}ErrorCode"
    kind = Enum(name, {code: code.lower() for code in codes})  # type: ignore[misc]
    kind.__module__ = __name__
    described_enum(
        kind, name, f"What can be wrong with `{mutation}`.", {one: _MEANINGS[one.name] for one in kind}
    )
    return kind
