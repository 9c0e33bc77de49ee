"""The one error of this package."""


class EmbeddedError(Exception):
    """The servers cannot be run here. The message is one or a few lines for the person at the terminal."""
