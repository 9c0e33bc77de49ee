"""Scalars: instants, UUIDs and durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import strawberry
from strawberry.types.scalar import ScalarDefinition

from hogsend.clock import instant_text

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)")
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def parse_instant(text: Any) -> datetime:
    """An ISO 8601 instant with `Z` or an offset, in UTC. Raises `ValueError` with a sentence for its sender."""
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("must be an ISO 8601 instant with a time zone, e.g. 2026-01-15T10:30:00Z")


def duration_text(value: timedelta) -> str:
    """ISO 8601 in days, hours, minutes, seconds: `P2DT12H`."""
    days, rest = divmod(value.total_seconds(), 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    date = f"{int(days)}D" if days else ""
    time = "".join(
        f"{amount:g}{unit}" for amount, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if amount
    )
    return f"P{date}T{time}" if time else f"P{date or 'T0S'}"


def parse_duration(text: Any) -> timedelta:
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None or not any(found.groupdict().values()):
        raise ValueError("must be an ISO 8601 duration in weeks, days, hours, minutes, seconds, e.g. P2DT12H")
    try:
        return timedelta(**{unit: float(amount) for unit, amount in found.groupdict().items() if amount})
    except OverflowError:
        raise ValueError("is too long") from None


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="Instant as an RFC 3339 string, in UTC with milliseconds: `2026-01-15T10:30:00.000Z`. "
        "Inputs may have any offset.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=instant_text,
        parse_value=parse_instant,
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="UUID in its canonical form: `01a208b9-d268-7645-80a8-8b459d881f67`.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc9562",
        serialize=str,
        parse_value=UUID,
    ),
    timedelta: strawberry.scalar(
        name="Duration",
        description="Duration in ISO 8601: `P2DT12H`.",
        specified_by_url="https://en.wikipedia.org/wiki/ISO_8601#Durations",
        serialize=duration_text,
        parse_value=parse_duration,
    ),
}
