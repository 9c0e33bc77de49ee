"""`python -m worker`."""

from hogsend.settings import load_settings
from worker.main import run

run(load_settings())
