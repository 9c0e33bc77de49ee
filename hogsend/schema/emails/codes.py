"""What can be wrong with sending emails."""

from enum import Enum

from hogsend.graphql.codes import error_codes

NO_TEMPLATE = "There is no such template."
NOT_RENDERED = "The template cannot be rendered with these props."


@error_codes("emailSend", TEMPLATE_NOT_FOUND=NO_TEMPLATE, RENDERING_FAILED=NOT_RENDERED)
class EmailSendErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    TEMPLATE_NOT_FOUND = "template_not_found"
    RENDERING_FAILED = "rendering_failed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


@error_codes(
    "emailResend",
    TEMPLATE_NOT_FOUND=NO_TEMPLATE,
    RENDERING_FAILED=NOT_RENDERED,
    NOT_RETRIABLE="It neither failed nor bounced, or it was sent again already.",
    NO_TEMPLATE="It was not made from a template, so it cannot be rendered again.",
)
class EmailResendErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    TEMPLATE_NOT_FOUND = "template_not_found"
    RENDERING_FAILED = "rendering_failed"
    NOT_RETRIABLE = "not_retriable"
    NO_TEMPLATE = "no_template"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"


@error_codes("templateSendTest", TEMPLATE_NOT_FOUND=NO_TEMPLATE, RENDERING_FAILED=NOT_RENDERED)
class TemplateSendTestErrorCode(Enum):
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    TEMPLATE_NOT_FOUND = "template_not_found"
    RENDERING_FAILED = "rendering_failed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IN_PROGRESS = "in_progress"
