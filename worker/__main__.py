"""`python -m worker`."""

from hogsend.logs import configure_logs
from hogsend.settings import load_serving_settings
from worker.main import run

settings = load_serving_settings()
configure_logs(settings)
run(settings)
