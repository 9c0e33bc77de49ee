"""What a route of either plane is declared with: its method and path, and one line of documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestRoute:
    """One route. `operation` is its method and path, as the contract writes it: `GET /contacts/{id}`."""

    operation: str
    summary: str

    @property
    def method(self) -> str:
        return self.operation.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.operation.partition(" ")[2]
