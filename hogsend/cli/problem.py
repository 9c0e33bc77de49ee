"""What a command ends with when a person can put it right."""


class Problem(Exception):
    """Told as it is, without a traceback; the process ends with exit code 1."""
