"""How commands talk to a running Hogsend: where it is, with which key, and what its refusals mean to a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from hogsend.cli.problem import Problem

if TYPE_CHECKING:
    import httpx

Url = Annotated[str | None, typer.Option(help="Where Hogsend is; default: HOGSEND_PORT here.")]
Key = Annotated[
    str | None,
    typer.Option(
        help="A key that may do this; default: the one of `hogsend dev` here.", envvar="ADMIN_API_KEY"
    ),
]


@contextmanager
def connected(url: str | None, key: str | None) -> Iterator[httpx.Client]:
    """A client of the API. A server that cannot be reached is told in one line."""
    import httpx

    key = key or _key_of_dev()
    if not key:
        raise Problem("A key is needed: set ADMIN_API_KEY or give --key.")
    base = url or f"http://localhost:{os.environ.get('HOGSEND_PORT') or 3002}"
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=base, headers=headers, timeout=120, trust_env=False) as client:
        try:
            yield client
        except httpx.TransportError as error:
            raise Problem(f"Hogsend does not answer at {base}: {error}") from None


def _key_of_dev() -> str | None:
    """The key of the `hogsend dev` of this machine, where there is one."""
    from hogsend.cli.here import settings_here

    try:
        known = settings_here(None).admin_api_key
    except Problem:
        return None
    return None if known is None else known.get_secret_value()


def accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, where it is a success; else a `Problem` with what the API says is wrong."""
    if answer.is_success:
        return answer
    answer.read()
    try:
        said = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        said = answer.text[:200]
    raise Problem(f"{answer.url.path} answered {answer.status_code}: {said}")
