"""Channel configuration of alert rules: what each channel takes, checked before a rule is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from hogsend.alerts.ssrf import Forbidden, Resolve, Unresolved, addresses, parse, resolve
from hogsend.errors import InvalidInput
from hogsend.validation import check_email, check_text

log = structlog.get_logger(__name__)

FIELD = "channelConfig"
LONGEST_CHANNEL = 100

# The field that holds each channel's URL, and the schemes it may have.
TARGETS: Mapping[str, tuple[str, Sequence[str]]] = {
    "slack": ("webhookUrl", ("https",)),
    "webhook": ("url", ("https", "http")),
}
_TAKES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "slack": (frozenset({"webhookUrl"}), frozenset({"channel"})),
    "webhook": (frozenset({"url"}), frozenset()),
    "email": (frozenset({"to"}), frozenset()),
}


def check_config(channel: str, config: object, *, allow_private: bool) -> dict[str, Any]:
    """`config` as it is stored, where it fits `channel`. Raises `InvalidInput`; asks nobody.

    `allow_private` is for development: then an http URL will do for Slack too.
    """
    if not isinstance(config, Mapping):
        raise InvalidInput(FIELD, f"{FIELD} must be an object")
    needed, optional = _TAKES[channel]
    for name in sorted(needed - config.keys()):
        raise InvalidInput(f"{FIELD}.{name}", f"{FIELD}.{name} is required for the channel {channel}")
    for name in sorted(config.keys() - needed - optional):
        raise InvalidInput(
            f"{FIELD}.{name}"[:200], f"{FIELD} of the channel {channel} takes {_names(channel)}"
        )
    if channel == "email":
        return {"to": check_email(f"{FIELD}.to", config["to"])}
    name, schemes = TARGETS[channel]
    check_text(f"{FIELD}.{name}", config[name], 2_000)
    try:
        parse(config[name], ("https", "http") if allow_private else schemes)
    except Forbidden as error:
        raise InvalidInput(f"{FIELD}.{name}", f"{FIELD}.{name} {error.reason}") from None
    if config.get("channel") is None:
        return {name: config[name]}
    check_text(f"{FIELD}.channel", config["channel"], LONGEST_CHANNEL)
    return {name: config[name], "channel": config["channel"]}


async def check_target(config: Mapping[str, Any], *, allow_private: bool, resolve: Resolve = resolve) -> None:
    """Refuse a URL that leads into a private network. Raises `InvalidInput`. Asks the resolver: hold no lock.

    A name that cannot be resolved now is let pass: it is checked again each time that it is used.
    """
    for name, _ in TARGETS.values():
        if not isinstance(config.get(name), str):
            continue
        try:
            await addresses(
                parse(config[name], ("https", "http")), allow_private=allow_private, resolve=resolve
            )
        except Forbidden as error:
            raise InvalidInput(f"{FIELD}.{name}", f"{FIELD}.{name} {error.reason}") from None
        except Unresolved as error:
            log.info("alert_target_not_resolved", why=str(error))


def masked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` for the audit log: a webhook's URL is a credential, so only its host is told."""
    targets = {name for name, _ in TARGETS.values()}
    return {
        key: parse(value, ("https", "http")).host if key in targets else value
        for key, value in config.items()
    }


def _names(channel: str) -> str:
    needed, optional = _TAKES[channel]
    return ", ".join([*sorted(needed), *(f"{name} (optional)" for name in sorted(optional))])
