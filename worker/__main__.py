"""`python -m worker`."""

from hogsend.logs import configure_logs
from hogsend.settings import load_settings
from worker.main import run

settings = load_settings()
configure_logs(settings)
run(settings)
