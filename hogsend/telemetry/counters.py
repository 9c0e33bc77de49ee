"""Prometheus metrics: everything that is counted as it happens, in one list. What waits is read when it is asked for.

Labels hold words of ours alone: no path, name or id that a caller can choose makes a series.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from sqlalchemy.ext.asyncio import AsyncConnection

# Each counter would have a second series that says when it began.
disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER = "other"
"""Stands for whatever is not known: a path without a route, a document that nobody vouched for."""

_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REQUESTS = Counter(
    "hogsend_requests_total",
    "Requests that were answered, by operation and HTTP status",
    ["operation", "status"],
)
REQUEST_SECONDS = Histogram(
    "hogsend_request_seconds", "From a request's first byte to its answer's", ["operation"], buckets=_FAST
)
GRAPHQL_OPERATIONS = Counter(
    "hogsend_graphql_operations_total",
    "GraphQL operations that were to be run, over any transport; `name` of trusted documents only",
    ["kind", "name"],
)
GRAPHQL_ANSWERS = Counter(
    "hogsend_graphql_answers_total",
    "GraphQL operations and messages of subscriptions that were executed, REST's too, by the executor that answered",
    ["tier"],
)
RATE_LIMITED = Counter(
    "hogsend_rate_limited_total", "Requests over a limit, by the limit that was full", ["limit"]
)
STREAMS_OPEN = Gauge(
    "hogsend_streams_open", "Connections that streams run over: SSE responses and sockets", ["transport"]
)
SOCKETS_CLOSED = Counter(
    "hogsend_sockets_closed_total", "Sockets that the server closed, by their code", ["code"]
)
STREAM_LAG = Histogram(
    "hogsend_stream_lag_seconds",
    "From the hint of an activity's commit until the streams of this process hear of it",
    buckets=_FAST,
)
EVENTS = Counter("hogsend_events_total", "Events that were stored")
DEDUPLICATED = Counter(
    "hogsend_deduplicated_total", "What came a second time and changed nothing, by what it was", ["what"]
)
PROVIDER_EVENTS = Counter(
    "hogsend_provider_events_total", "Delivery events by what became of them", ["provider", "outcome"]
)
VISITS_UNCOUNTED = Counter(
    "hogsend_visits_uncounted_total", "Opens and clicks over the limit of their address", ["type"]
)
DECISIONS = Counter(
    "hogsend_decisions_total", "Verdicts that were committed, by kind and reason", ["kind", "reason"]
)
SLICES = Counter("hogsend_slices_total", "Slices of runs, by what they came to", ["state"])
SLICE_SECONDS = Histogram("hogsend_slice_seconds", "How long slices of runs took", buckets=_FAST)
SENDS = Counter("hogsend_sends_total", "Attempts to send, by what was recorded of them", ["outcome"])
PROVIDER_SECONDS = Histogram(
    "hogsend_provider_seconds",
    "How long the email provider took to answer",
    ["provider", "answer"],
    buckets=_FAST,
)
JOBS = Counter("hogsend_jobs_total", "Attempts of background jobs, by kind and outcome", ["kind", "outcome"])
OUTBOX = Counter(
    "hogsend_outbox_rows_total",
    "Rows of the outbox that were handed over, or pushed back",
    ["topic", "outcome"],
)
CRON_RUNS = Counter("hogsend_cron_runs_total", "Runs of scheduled tasks in this process", ["cron", "outcome"])
DEAD_LETTERS = Counter("hogsend_dead_letters_total", "Dead letters that were added, by source", ["source"])
LOOP_LAG = Histogram(
    "hogsend_event_loop_lag_seconds",
    "How late the event loop came to what was due",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)

_WAITING = "hogsend_counts"


def count_when_committed(conn: AsyncConnection, counter: Counter) -> None:
    """Count one when the transaction that `conn` is in commits; what is rolled back did not happen.

    For connections of `Database.transaction`, which calls `take_counts` and `count`.
    """
    conn.sync_connection.info.setdefault(_WAITING, []).append(counter)  # type: ignore[union-attr]


def take_counts(conn: AsyncConnection) -> list[Counter]:
    """What is to be counted once this transaction is committed; the connection forgets it."""
    waiting: list[Counter] = conn.sync_connection.info.pop(_WAITING, [])  # type: ignore[union-attr]
    return waiting
