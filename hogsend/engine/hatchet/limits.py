"""The names that Hatchet knows us by, and every limit that is set there, with its reason. All of it is real time."""

from __future__ import annotations

from datetime import timedelta

RUN = "journey-run"
ADVANCE = "journey-advance"
JOB = "hogsend-job"
CRON = "hogsend-cron-"
WAKE = "hogsend:run-wake"

OLDEST = (0, 98, 9)
"""The first release that announces idempotency keys: without them, a run would have a driver for each start."""

# Hatchet's own defaults are made for short tasks: 60 seconds to run, 5 minutes in the queue, no retries.

LONGEST_WAIT = timedelta(days=7)
"""A longer wait is cut: the driver wakes, finds nothing due, and waits on."""

RUN_TIMEOUT = LONGEST_WAIT + timedelta(days=1)
"""Hatchet's clock stands still while a driver is evicted; this holds for one that could not be."""

ADVANCE_TIMEOUT = timedelta(minutes=3)
"""For one slice: a few statements, a few sends, and what the author's code does between them. Short, because a slice
whose answer was lost with a connection counts as running until then; one that was cut goes on from its journal."""

JOB_TIMEOUT = timedelta(hours=6)
"""For the largest import. A job that is cut goes on where it was."""

CRON_TIMEOUT = timedelta(minutes=10)

QUEUED_AT_MOST = timedelta(days=7)
"""How long an outage of all workers may last before Hatchet gives a task up. The watchdog calls those again."""

SLICE_RETRIES = 8
DRIVER_RETRIES = 5
BACKOFF_FACTOR = 2.0
BACKOFF_AT_MOST = timedelta(minutes=1)

AFTER_FAILED_SLICE = timedelta(minutes=1)
"""A slice fails only where it cannot reach the database. The driver goes on with the next one after this pause."""

EVICTED_AFTER = timedelta(seconds=5)
"""A waiting driver leaves its worker so soon: it frees a slot and the memory, and comes back when its wait ends."""

DRIVER_SLOTS = 1_000
"""Drivers in a worker at once. They do nothing but wait; with `EVICTED_AFTER`, 200 runs a second can begin."""

MOST_TICKS = 100
"""A driver that comes back repeats its log, so a long one is handed over to a fresh driver …"""

LONGEST_LIFE = timedelta(days=20)
"""… and so is an old one: Hatchet forgets runs after 30 days. With a wait on top, none gets older than 27."""

KEY_KEPT = timedelta(days=30)
"""Keys are held until their run ends; this is for those whose end Hatchet missed."""

LOOKBACK = timedelta(hours=1)
"""A wake-up that came before its wait was armed is found this far back, whatever the clocks of the machines say."""

CALL_TIMEOUT = 2.0
"""Seconds for one call."""

AWAY = 2.0
"""Seconds for which nobody tries again after a call failed: a batch of the outbox must not wait for each row."""

LISTENER_GIVES_UP = timedelta(seconds=45)
"""After a longer outage the worker starts again: the SDK stops to ask for work after some 75 seconds, for good."""
