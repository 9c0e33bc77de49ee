"""Media types of request bodies."""

from __future__ import annotations

JSON = "application/json"


def is_json(content_type: str) -> bool:
    """Whether a `Content-Type` says JSON in UTF-8."""
    name, *parameters = (piece.strip().lower() for piece in content_type.split(";"))
    charset = next((text[8:].strip('"') for text in parameters if text.startswith("charset=")), "utf-8")
    return name == JSON and charset in ("utf-8", "utf8")
