"""Channel configuration of alert rules: what each channel takes, checked before a rule is kept.

A channel's URL is a credential: it is written once and never told again, only with its path masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import structlog

from hogsend.alerts.ssrf import Forbidden, Policy, Resolve, Unresolved, resolve, verdict
from hogsend.errors import InvalidInput
from hogsend.validation import check_email, check_text

log = structlog.get_logger(__name__)

FIELD = "channelConfig"
LONGEST_CHANNEL = 100
MASK = "…"
# The tail tells two URLs apart; of a short secret it would tell too much.
SHORTEST_SECRET_WITH_TAIL = 16
TAIL = 4

# The field that holds each channel's URL.
TARGETS: Mapping[str, str] = {"slack": "webhookUrl", "webhook": "url"}
_TAKES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "slack": (frozenset({"webhookUrl"}), frozenset({"channel"})),
    "webhook": (frozenset({"url"}), frozenset()),
    "email": (frozenset({"to"}), frozenset()),
}


def check_config(channel: str, config: object) -> dict[str, Any]:
    """`config` as it is stored, where it fits `channel`. Raises `InvalidInput`. `check_target` judges its URL."""
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
    name = TARGETS[channel]
    check_text(f"{FIELD}.{name}", config[name], 2_000)
    if config.get("channel") is None:
        return {name: config[name]}
    check_text(f"{FIELD}.channel", config["channel"], LONGEST_CHANNEL)
    return {name: config[name], "channel": config["channel"]}


async def check_target(config: Mapping[str, Any], policy: Policy, *, resolve: Resolve = resolve) -> None:
    """Refuse a URL that the guard does not let through. Raises `InvalidInput`. Asks the resolver: hold no lock.

    A name that cannot be resolved now is let pass: it is judged again each time that it is used. A masked URL is
    the stored one or none, see `unmasked`.
    """
    for name in TARGETS.values():
        if not isinstance(config.get(name), str) or MASK in config[name]:
            continue
        try:
            await verdict(config[name], policy, resolve=resolve)
        except Forbidden as error:
            raise InvalidInput(f"{FIELD}.{name}", f"{FIELD}.{name} {error.reason}") from None
        except Unresolved as error:
            log.info("alert_target_not_resolved", why=str(error))


def masked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` as it may be shown, to any key and in the audit log: of a URL its host and last characters."""
    targets = set(TARGETS.values())
    return {key: masked_url(value) if key in targets else value for key, value in config.items()}


def masked_secret(secret: str) -> str:
    """`whsec_…` and the last characters, to tell two apart."""
    return f"whsec_{MASK}{secret[-TAIL:]}"


def masked_url(text: str) -> str:
    """`https://hooks.slack.com/services/T0/B0/secretabcd` as `https://hooks.slack.com/…abcd`."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return MASK
    secret = url.raw_path.decode("ascii")
    tail = secret[-TAIL:] if len(secret) >= SHORTEST_SECRET_WITH_TAIL else ""
    return f"{url.scheme}://{url.netloc.decode('ascii')}/{MASK}{tail}"


def unmasked(config: object, stored: Mapping[str, Any]) -> object:
    """`config` with the `stored` URL in the place of its mask, so that what was read can be written back.

    Raises `InvalidInput` for any other masked URL.
    """
    if not isinstance(config, Mapping):
        return config
    whole = dict(config)
    for name in TARGETS.values():
        value = config.get(name)
        if not isinstance(value, str) or MASK not in value:
            continue
        if name not in stored or value != masked_url(stored[name]):
            raise InvalidInput(
                f"{FIELD}.{name}",
                f"{FIELD}.{name} is masked, and not the stored one's mask: give the whole URL, or leave {FIELD} out"
                " to keep it",
            )
        whole[name] = stored[name]
    return whole


def _names(channel: str) -> str:
    needed, optional = _TAKES[channel]
    return ", ".join([*sorted(needed), *(f"{name} (optional)" for name in sorted(optional))])
