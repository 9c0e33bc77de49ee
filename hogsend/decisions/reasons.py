"""Kinds and reasons of decisions: every verdict about a person, and every reason that it can have.

`Decision.reason` is one of these and nothing else, so that "why did she not get that email?" can be counted,
filtered and documented. A test holds `docs/decisions.md` to this list.
"""

from enum import StrEnum


class DecisionKind(StrEnum):
    """What was decided."""

    ENROLLED = "enrolled"
    SKIPPED = "skipped"
    WAITING = "waiting"
    RESUMED = "resumed"
    BRANCHED = "branched"
    SEND = "send"
    SENT = "sent"
    SUPPRESSED = "suppressed"
    SEND_FAILED = "send_failed"
    EXITED = "exited"
    COMPLETED = "completed"
    FAILED = "failed"
    BLOCKED = "blocked"
    PREFERENCE = "preference"
    MERGED = "merged"


class Reason(StrEnum):
    """Why."""

    # Enrolled.
    TRIGGER_MATCHED = "trigger_matched"
    # Skipped, in the order in which the guards are asked.
    CONTACT_DELETED = "contact_deleted"
    JOURNEY_DISABLED = "journey_disabled"
    TRIGGER_NOT_MATCHED = "trigger_not_matched"
    NO_EMAIL_ADDRESS = "no_email_address"
    ALREADY_IN_JOURNEY = "already_in_journey"
    ALREADY_ENTERED = "already_entered"
    ENTERED_RECENTLY = "entered_recently"
    EMAILED_RECENTLY = "emailed_recently"
    TRIGGER_CHAIN_TOO_LONG = "trigger_chain_too_long"
    # Waiting and resumed.
    SLEEPING = "sleeping"
    AWAITING_EVENT = "awaiting_event"
    COLLECTING_EVENTS = "collecting_events"
    RETRYING_SEND = "retrying_send"
    THROTTLED = "throttled"
    SLEEP_ENDED = "sleep_ended"
    EVENT_ARRIVED = "event_arrived"
    WAIT_TIMED_OUT = "wait_timed_out"
    WINDOW_ENDED = "window_ended"
    OPERATOR_RESUMED = "operator_resumed"
    OPERATOR_SKIPPED_STEP = "operator_skipped_step"
    # Branched.
    CHECKPOINT_REACHED = "checkpoint_reached"
    CONDITION_HELD = "condition_held"
    CONDITION_DID_NOT_HOLD = "condition_did_not_hold"
    VARIANT_CHOSEN = "variant_chosen"
    EVENT_TRIGGERED = "event_triggered"
    # Sends.
    JOURNEY_ASKED = "journey_asked"
    API_ASKED = "api_asked"
    OPERATOR_ASKED = "operator_asked"
    PROVIDER_ACCEPTED = "provider_accepted"
    PROVIDER_REFUSED = "provider_refused"
    RETRIES_EXHAUSTED = "retries_exhausted"
    OUTCOME_UNKNOWN = "outcome_unknown"
    RENDERING_FAILED = "rendering_failed"
    # Suppressed.
    UNSUBSCRIBED_FROM_ALL = "unsubscribed_from_all"
    UNSUBSCRIBED_FROM_CATEGORY = "unsubscribed_from_category"
    ADDRESS_BOUNCED = "address_bounced"
    ADDRESS_COMPLAINED = "address_complained"
    SUPPRESSED_BY_OPERATOR = "suppressed_by_operator"
    RUN_ENDED = "run_ended"
    # Ends of a run.
    EXIT_EVENT = "exit_event"
    OPERATOR_CANCELLED = "operator_cancelled"
    MERGED_INTO_ANOTHER = "merged_into_another"
    JOURNEY_ENDED = "journey_ended"
    JOURNEY_RAISED = "journey_raised"
    JOURNEY_MISSING = "journey_missing"
    CODE_CHANGED = "code_changed"
    # Preferences.
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    # Merged.
    KEYS_BELONG_TOGETHER = "keys_belong_together"
