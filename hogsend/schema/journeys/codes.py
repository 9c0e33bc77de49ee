"""What can be wrong with steering journeys and runs."""

from enum import Enum

from hogsend.graphql.codes import error_codes

ENDED = "The run has ended already."
STUCK = "The run is neither blocked nor failed."
NO_STEP = "The run is stuck in no step: its own code raised, or its journey is gone."
ELSEWHERE = "The person is in another run of this journey meanwhile."


@error_codes("journeyEnable")
class JourneyEnableErrorCode(Enum):
    NOT_FOUND = "not_found"


@error_codes("journeyDisable")
class JourneyDisableErrorCode(Enum):
    NOT_FOUND = "not_found"


@error_codes("journeyEnrollBatch")
class JourneyEnrollBatchErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


@error_codes("journeyStateCancel", ALREADY_ENDED=ENDED)
class JourneyStateCancelErrorCode(Enum):
    NOT_FOUND = "not_found"
    ALREADY_ENDED = "already_ended"


@error_codes("journeyStateResume", NOT_STUCK=STUCK, ALREADY_IN_JOURNEY=ELSEWHERE)
class JourneyStateResumeErrorCode(Enum):
    NOT_FOUND = "not_found"
    NOT_STUCK = "not_stuck"
    ALREADY_IN_JOURNEY = "already_in_journey"


@error_codes("journeyStateSkip", NOT_STUCK=STUCK, NOTHING_TO_SKIP=NO_STEP, ALREADY_IN_JOURNEY=ELSEWHERE)
class JourneyStateSkipErrorCode(Enum):
    NOT_FOUND = "not_found"
    NOT_STUCK = "not_stuck"
    NOTHING_TO_SKIP = "nothing_to_skip"
    ALREADY_IN_JOURNEY = "already_in_journey"


@error_codes("journeyStatesCancel")
class JourneyStatesCancelErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"
