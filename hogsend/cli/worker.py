"""`hogsend worker`."""

from __future__ import annotations

from hogsend.cli.loading import loading
from hogsend.cli.supervised import Supervised, begin_and_end_with_supervisor


def worker(supervised: Supervised = "") -> None:
    """Run journeys, sends, imports and schedules until SIGTERM; then finish what is under way."""
    with loading():
        from hogsend.logs import configure_logs
        from hogsend.settings import load_serving_settings
        from worker.main import run

    if supervised:
        begin_and_end_with_supervisor()
    settings = load_serving_settings()
    configure_logs(settings)
    run(settings)
