"""One `Settings`, read from the environment once, at boot; it fails with the whole list of what is wrong."""

from __future__ import annotations

import re
import secrets
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hogsend.addresses import BadAddress, checked_mailbox
from hogsend.validation import NOBODYS_IDS

SHORTEST_SECRET = 32
SHORTEST_ADMIN_KEY = 20
# A name, `*.` before one, or an address of either family; in brackets or not.
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")


class SettingsError(Exception):
    """The environment cannot be used. `problems` holds one sentence a variable, and belongs under `heading`."""

    heading = "These settings cannot be used:"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _days(name: str, default: int) -> int:
    """A retention setting: days of real time, 0 for ever."""
    return Field(default, alias=name, ge=0, le=36_500)


class Settings(BaseSettings):
    """Everything an operator can set. Field names are the environment variables, in lower case."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, populate_by_name=True)

    # Where the data is.
    database_url: str = Field(repr=False, description="postgresql://user:password@host:port/database")
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", repr=False, description="redis://…; streams and rate limits"
    )
    database_pool_size: int = Field(10, alias="HOGSEND_DATABASE_POOL_SIZE", ge=1, le=200)

    # Who may come in.
    admin_api_key: SecretStr | None = Field(None, description="A key that holds full-admin, actor `legacy`")
    secret_key: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_urlsafe(32)),
        alias="HOGSEND_SECRET_KEY",
        description="Signs unsubscribe and preference tokens; the same for every process",
    )
    rate_limit: int = Field(100, alias="HOGSEND_RATE_LIMIT", ge=1, description="Requests a minute a key")
    ingest_rate_limit: int = Field(
        60_000,
        alias="HOGSEND_INGEST_RATE_LIMIT",
        ge=1,
        description="Data plane requests and events a minute a key",
    )
    failed_auth_limit: int = Field(
        60, alias="HOGSEND_FAILED_AUTH_LIMIT", ge=1, description="Failed authentications a minute an address"
    )
    streams_per_key: int = Field(
        5_000, alias="HOGSEND_STREAMS_PER_KEY", ge=1, description="Open streams a key and process"
    )
    streams_per_address: int = Field(
        2_000, alias="HOGSEND_STREAMS_PER_ADDRESS", ge=1, description="Open streams an address and process"
    )
    sockets_per_address: int = Field(
        2_000, alias="HOGSEND_SOCKETS_PER_ADDRESS", ge=1, description="Open sockets an address and process"
    )
    introspection: bool = Field(True, alias="HOGSEND_INTROSPECTION")
    trusted_documents: Literal["off", "allow", "require"] = Field("off", alias="HOGSEND_TRUSTED_DOCUMENTS")
    trusted_documents_file: Path | None = Field(None, alias="HOGSEND_TRUSTED_DOCUMENTS_FILE")
    refused_user_ids: Annotated[list[str], NoDecode] = Field(
        list(NOBODYS_IDS),
        alias="HOGSEND_REFUSED_USER_IDS",
        description="Ids that a broken client makes of nothing; compared without case, trimmed",
    )

    # Where it is reached.
    host: str = Field("127.0.0.1", alias="HOGSEND_HOST")
    port: int = Field(3002, alias="HOGSEND_PORT", ge=1, le=65535)
    public_url: str = Field("", alias="HOGSEND_PUBLIC_URL", description="Base of links, pixels and webhooks")
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        [],
        alias="HOGSEND_ALLOWED_HOSTS",
        description="Hosts that are answered besides loopback and HOGSEND_PUBLIC_URL's; `*`: all",
    )
    visit_rate_limit: int = Field(
        1000,
        alias="HOGSEND_VISIT_RATE_LIMIT",
        ge=1,
        description="Opens and clicks recorded a minute an address",
    )
    dev: bool = Field(False, alias="HOGSEND_DEV", description="Serves GraphiQL's demo tabs and /dev/inbox")

    # What is sent.
    email_provider: Literal["inbox", "resend", "smtp", "memory"] | None = Field(
        None,
        alias="HOGSEND_EMAIL_PROVIDER",
        description="Default: resend where RESEND_API_KEY is set; else inbox, only in `hogsend dev`",
    )
    email_from: str = Field("Hogsend <hello@example.com>", alias="HOGSEND_EMAIL_FROM")
    resend_api_key: SecretStr | None = None
    resend_api_url: str = Field("https://api.resend.com", description="Tests point it at a local stand-in")
    resend_webhook_secret: SecretStr | None = None
    smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:port")

    # Who else hears of it.
    posthog_api_key: SecretStr | None = None
    posthog_host: str = "https://us.i.posthog.com"
    posthog_webhook_secret: SecretStr | None = None
    alert_private_targets: bool = Field(
        False,
        alias="HOGSEND_ALERT_PRIVATE_TARGETS",
        description="Alerts may be posted to private addresses too: for development",
    )
    allow_http_targets: bool = Field(
        False,
        alias="HOGSEND_ALLOW_HTTP_TARGETS",
        description="Alerts may be posted by plain http too: for development",
    )
    alert_minimum_sends: int = Field(
        20,
        alias="HOGSEND_ALERT_MINIMUM_SENDS",
        ge=1,
        le=1_000_000,
        description="Of fewer emails an alert rule makes no rate",
    )

    # What runs the journeys.
    journeys: Annotated[list[str], NoDecode] = Field(["worker.journeys"], alias="HOGSEND_JOURNEYS")
    templates: Annotated[list[Path], NoDecode] = Field([Path("worker/templates")], alias="HOGSEND_TEMPLATES")
    hatchet_client_token: SecretStr | None = None
    worker_concurrency: int = Field(20, alias="HOGSEND_WORKER_CONCURRENCY", ge=1, le=1000)
    speed: float = Field(
        1.0, alias="HOGSEND_SPEED", gt=0, le=1_000_000, description="How fast journey time runs"
    )

    # Who watches it.
    metrics_host: str = Field("127.0.0.1", alias="HOGSEND_METRICS_HOST")
    metrics_port: int | None = Field(
        None, alias="HOGSEND_METRICS_PORT", ge=1, le=65535, description="Of the API's metrics and probes"
    )
    worker_metrics_port: int | None = Field(
        None, alias="HOGSEND_WORKER_METRICS_PORT", ge=1, le=65535, description="Of a worker's"
    )
    metrics_key: SecretStr | None = Field(
        None, alias="HOGSEND_METRICS_KEY", description="Opens /metrics, on the API's own port too"
    )
    otlp_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        repr=False,
        description="Base address of a collector, OTLP over HTTP",
    )
    otlp_traces_endpoint: str | None = Field(None, alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", repr=False)
    otlp_protocol: Literal["http/protobuf"] = Field("http/protobuf", alias="OTEL_EXPORTER_OTLP_PROTOCOL")
    otel_traces_exporter: Literal["otlp", "none"] = Field("otlp", alias="OTEL_TRACES_EXPORTER")
    otel_disabled: bool = Field(False, alias="OTEL_SDK_DISABLED")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="HOGSEND_LOG_LEVEL")
    log_format: Literal["console", "json"] = Field("json", alias="HOGSEND_LOG_FORMAT")

    # How long it is kept, in days of real time; 0: for ever.
    retention_activity: int = _days("HOGSEND_RETENTION_ACTIVITY", 400)
    retention_decisions: int = _days("HOGSEND_RETENTION_DECISIONS", 400)
    retention_audit: int = _days("HOGSEND_RETENTION_AUDIT", 730)
    retention_events: int = _days("HOGSEND_RETENTION_EVENTS", 0)
    retention_event_keys: int = _days("HOGSEND_RETENTION_EVENT_KEYS", 400)
    retention_emails: int = _days("HOGSEND_RETENTION_EMAILS", 730)
    retention_email_content: int = _days("HOGSEND_RETENTION_EMAIL_CONTENT", 90)
    retention_email_events: int = _days("HOGSEND_RETENTION_EMAIL_EVENTS", 400)
    retention_provider_events: int = _days("HOGSEND_RETENTION_PROVIDER_EVENTS", 90)
    retention_idempotency_keys: int = _days("HOGSEND_RETENTION_IDEMPOTENCY_KEYS", 730)
    retention_runs: int = _days("HOGSEND_RETENTION_RUNS", 0)
    retention_journals: int = _days("HOGSEND_RETENTION_JOURNALS", 400)
    retention_imports: int = _days("HOGSEND_RETENTION_IMPORTS", 400)
    retention_alerts: int = _days("HOGSEND_RETENTION_ALERTS", 400)
    retention_dead_letters: int = _days("HOGSEND_RETENTION_DEAD_LETTERS", 90)
    retention_inbox: int = _days("HOGSEND_RETENTION_INBOX", 30)
    retention_outbox: int = _days("HOGSEND_RETENTION_OUTBOX", 7)
    retention_jobs: int = _days("HOGSEND_RETENTION_JOBS", 30)

    @field_validator("journeys", "templates", "allowed_hosts", "refused_user_ids", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str) -> str:
        scheme = value.split("://", 1)[0]
        if scheme not in ("postgresql", "postgres", "postgresql+asyncpg"):
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        if value.split("://", 1)[0] not in ("redis", "rediss", "unix"):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("metrics_key")
    @classmethod
    def _metrics_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and _length(value) < SHORTEST_ADMIN_KEY:
            raise ValueError(f"must be at least {SHORTEST_ADMIN_KEY} random characters")
        return value

    @field_validator("otlp_endpoint", "otlp_traces_endpoint")
    @classmethod
    def _otlp_endpoint(cls, value: str | None) -> str | None:
        if value is not None and value.split("://", 1)[0] not in ("http", "https"):
            raise ValueError("must start with http:// or https://")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _allowed_hosts(cls, values: list[str]) -> list[str]:
        for value in values:
            if value != "*" and not _HOST.fullmatch(value):
                raise ValueError(f"{value} is not a host's name: write it without scheme, port and path")
        return [value.lower() for value in values]

    @field_validator("email_from")
    @classmethod
    def _sender_can_be_written(cls, value: str) -> str:
        try:
            checked_mailbox(value)
        except BadAddress as error:
            raise ValueError(
                f"must be an email address, alone or as in Ada Lovelace <ada@example.com>: {error}"
            ) from None
        return value

    @model_validator(mode="after")
    def _keys_outlive_sends(self) -> Settings:
        emails, keys = self.retention_emails, self.retention_idempotency_keys
        if keys and (not emails or keys < emails):
            raise ValueError(
                "HOGSEND_RETENTION_IDEMPOTENCY_KEYS must not be shorter than HOGSEND_RETENTION_EMAILS: "
                "a key that is forgotten first would be taken for a new one"
            )
        return self

    @model_validator(mode="after")
    def _provider_has_its_credentials(self) -> Settings:
        if self.email_provider == "resend" and self.resend_api_key is None:
            raise ValueError("HOGSEND_EMAIL_PROVIDER is resend, so RESEND_API_KEY must be set")
        if self.email_provider == "smtp" and self.smtp_url is None:
            raise ValueError("HOGSEND_EMAIL_PROVIDER is smtp, so SMTP_URL must be set")
        return self

    @cached_property
    def sqlalchemy_url(self) -> str:
        """`database_url` with the asyncpg driver named, as SQLAlchemy wants it."""
        return "postgresql+asyncpg://" + self.database_url.split("://", 1)[1]

    @cached_property
    def nobodys_ids(self) -> frozenset[str]:
        """`refused_user_ids` as `check_user_id` takes them."""
        return frozenset(each.strip().casefold() for each in self.refused_user_ids)

    @cached_property
    def base_url(self) -> str:
        """What links in emails start with, without a trailing slash."""
        return (self.public_url or f"http://localhost:{self.port}").rstrip("/")

    @cached_property
    def provider(self) -> Literal["inbox", "resend", "smtp", "memory"]:
        if self.email_provider is not None:
            return self.email_provider
        return "resend" if self.resend_api_key is not None else "inbox"

    @cached_property
    def traces_endpoint(self) -> str | None:
        """Where spans are posted to; None where no traces are kept."""
        if self.otel_disabled or self.otel_traces_exporter == "none":
            return None
        if self.otlp_traces_endpoint is not None:
            return self.otlp_traces_endpoint
        return f"{self.otlp_endpoint.rstrip('/')}/v1/traces" if self.otlp_endpoint is not None else None

    @property
    def engine(self) -> Literal["embedded", "hatchet"]:
        return "hatchet" if self.hatchet_client_token is not None else "embedded"


class _Safeguards(BaseSettings):
    """The few settings that `unsafe_to_serve` looks at, read leniently: the rest may be wrong meanwhile."""

    model_config = Settings.model_config

    admin_api_key: SecretStr | None = None
    secret_key: SecretStr | None = Field(None, alias="HOGSEND_SECRET_KEY")
    email_provider: str | None = Field(None, alias="HOGSEND_EMAIL_PROVIDER")
    resend_api_key: SecretStr | None = None
    dev: bool = Field(False, alias="HOGSEND_DEV")

    @field_validator("dev", mode="wrap")
    @classmethod
    def _dev(cls, value: object, read: ValidatorFunctionWrapHandler) -> bool:
        try:
            return bool(read(value))
        except ValueError:
            return False


def load_settings(**overrides: object) -> Settings:
    """Read the environment. Raises `SettingsError` that lists every problem, by variable name."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError([_sentence(e["loc"], e["msg"]) for e in error.errors()]) from None


def load_serving_settings() -> Settings:
    """Read the environment for a process that others rely on, the API or a worker.

    Raises `SettingsError` that lists every problem: also what is only unsafe, outside `hogsend dev`.
    """
    problems = unsafe_to_serve(_Safeguards())
    try:
        settings = load_settings()
    except SettingsError as error:
        raise SettingsError([*error.problems, *problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def unsafe_to_serve(settings: Settings | _Safeguards) -> list[str]:
    """Why the API and the worker do not start with these settings, a sentence for each; none in `hogsend dev`."""
    if settings.dev:
        return []
    problems = []
    secret = settings.secret_key if "secret_key" in settings.model_fields_set else None
    if secret is None or _length(secret) < SHORTEST_SECRET:
        problems.append(
            f"HOGSEND_SECRET_KEY: must be at least {SHORTEST_SECRET} random characters, the same for every process"
            " and at every start: a link that one process signs is refused by one with another secret"
        )
    if settings.admin_api_key is not None and _length(settings.admin_api_key) < SHORTEST_ADMIN_KEY:
        problems.append(
            f"ADMIN_API_KEY: must be at least {SHORTEST_ADMIN_KEY} random characters, because it opens everything;"
            " or leave it out, and make keys with `hogsend keys create`"
        )
    if settings.email_provider is None and settings.resend_api_key is None:
        problems.append(
            "HOGSEND_EMAIL_PROVIDER: no provider is chosen: set RESEND_API_KEY, or smtp here and SMTP_URL, or inbox"
            " here, which keeps emails in the database and sends none"
        )
    return problems


def _length(secret: SecretStr) -> int:
    return len(secret.get_secret_value().strip())


def _sentence(loc: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not loc:
        return text
    field = Settings.model_fields.get(str(loc[0]))
    name = (field.alias if field and field.alias else str(loc[0])).upper()
    return f"{name}: {text[0].lower()}{text[1:]}"
