"""What journey authors import: `from hogsend import journey, on, prop, days`. It needs no server and no settings."""

from __future__ import annotations

from hogsend.journeys import when
from hogsend.journeys.conditions import Condition, Trigger, email, event, on, prop, user_prop
from hogsend.journeys.context import Context
from hogsend.journeys.definition import Journey, journey, once, once_per, unlimited
from hogsend.journeys.durations import days, hours, minutes, seconds
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.port import StepFailed
from hogsend.journeys.values import SendResult, User, WaitResult
from hogsend.journeys.when import WEEKDAYS, WEEKEND

__all__ = [
    "WEEKDAYS",
    "WEEKEND",
    "Condition",
    "Context",
    "Journey",
    "JourneyError",
    "SendResult",
    "StepFailed",
    "Trigger",
    "User",
    "WaitResult",
    "days",
    "email",
    "event",
    "hours",
    "journey",
    "minutes",
    "on",
    "once",
    "once_per",
    "prop",
    "seconds",
    "unlimited",
    "user_prop",
    "when",
]
