"""Logs: one line an event on standard output, for people (`console`) or for machines (`json`)."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.types import EventDict, Processor

from hogsend.settings import Settings
from hogsend.telemetry import traces


def configure_logs(settings: Settings) -> None:
    """Set this process's logs up, once, before anything logs. Libraries are heard from `warning` on."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _trace_ids,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    renderer: list[Processor]
    if settings.log_format == "json":
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        renderer = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stdout.isatty(),
                timestamp_key="at",
                # The default one prints local variables, and those hold secrets.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("hogsend", "worker"):
        logging.getLogger(ours).setLevel(settings.log_level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _trace_ids(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Each line says in which trace it was written, where traces are kept."""
    line.update(traces.ids())
    return line
