"""What the package `hogsend` gives to journey authors: the one list of it. It needs no server and no settings."""

from __future__ import annotations

from hogsend.journeys import schedule as when
from hogsend.journeys.conditions.builders import Condition, Trigger, email, event, on, prop, user_prop
from hogsend.journeys.context import Context
from hogsend.journeys.definition import Journey, journey, once, once_per, unlimited
from hogsend.journeys.durations import days, hours, minutes, seconds
from hogsend.journeys.errors import JourneyError
from hogsend.journeys.schedule import WEEKDAYS, WEEKEND
from hogsend.journeys.steps.step_driver import StepFailed
from hogsend.journeys.steps.step_results import SendResult, User, WaitResult

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
