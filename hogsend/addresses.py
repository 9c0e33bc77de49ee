"""Email addresses: which are taken, and how one is spelled as it is delivered to.

Case, surrounding space, Unicode form and the two spellings of an international domain do not make another address.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 320
# What RFC 5322 has in no word of a name that is not quoted.
_SPECIAL = re.compile(r"""[][()<>:;@\\,."]""")
_CAPITAL, _SMALL = "\N{GREEK CAPITAL LETTER SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
_FINAL = "\N{GREEK SMALL LETTER FINAL SIGMA}"
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")


class BadAddress(ValueError):
    """No provider takes this address; the message says why."""


def delivery_address(value: str) -> str:
    """The one spelling of an address: lower case, composed characters, the domain in Unicode.

    What is no address (an old row may hold anything) is trimmed and lower-cased, so that it equals itself.
    """
    spelled, _, wrong = _judged(value)
    return spelled if wrong is None else value.strip().lower()


def sigma_spellings(value: str) -> list[str]:
    """The one spelling of an address first, then those that differ from it in Greek sigmas alone.

    An upper-case sigma has two small ones, by its place in the word: an address in capitals may be either. Neither is
    delivered in the place of the other, and whoever refuses one refuses both.
    """
    spelled = delivery_address(value)
    local, at, domain = spelled.rpartition("@")
    if _SMALL not in local and _FINAL not in local:
        return [spelled]
    plain = local.replace(_FINAL, _SMALL)
    in_place = plain.replace(_SMALL, _CAPITAL).lower()
    return list(dict.fromkeys([spelled, *(f"{each}{at}{domain}" for each in (plain, in_place))]))


def checked_address(value: str) -> str:
    """The one spelling of an address. Raises `BadAddress` for one that no provider takes."""
    spelled, _, wrong = _judged(value)
    if wrong is not None:
        raise BadAddress(wrong)
    return spelled


def ascii_address(value: str) -> str:
    """The same for a provider that knows no international domains: the domain in its ASCII spelling."""
    _, in_ascii, wrong = _judged(value)
    return in_ascii if wrong is None else value


@dataclass(frozen=True)
class Mailbox:
    """A sender: the name that readers see, which may be empty, and an address with an ASCII domain."""

    name: str
    address: str

    def header(self) -> str:
        """As `From` has it: the name quoted where it must be."""
        if not self.name:
            return self.address
        name = self.name
        if _SPECIAL.search(name):
            name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
        return f"{name} <{self.address}>"


def checked_mailbox(value: str) -> Mailbox:
    """Read `Acme <hello@acme.com>`, or an address alone. Raises `BadAddress`, which says what is wrong."""
    found = _NAMED.fullmatch(value.strip())
    name, address = (found["name"], found["address"]) if found else ("", value)
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        raise BadAddress("its name has a line break or another control character")
    if "<" in name or ">" in name or "@" in name:
        raise BadAddress("its name has one of < > @")
    _, in_ascii, wrong = _judged(address)
    if wrong is not None:
        raise BadAddress(wrong)
    return Mailbox(name, in_ascii)


def sender_header(value: str) -> str:
    """`From` for providers. What is no mailbox (a frozen message may hold anything) is left to them to refuse."""
    try:
        return checked_mailbox(value).header()
    except BadAddress:
        return value


@lru_cache(maxsize=8192)
def _judged(value: str) -> tuple[str, str, str | None]:
    """Its spelling, that with an ASCII domain, and what is wrong with it. Whoever sends events repeats addresses."""
    # A tenth of a second, which only processes pay that meet an address.
    from email_validator import EmailNotValidError, validate_email

    if len(value) > LONGEST:
        return "", "", f"it has more than {LONGEST} characters"
    try:
        # Domains for tests are as good as others: nothing is asked of the network.
        found = validate_email(value.strip(), check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        return "", "", str(error)
    local = unicodedata.normalize("NFC", found.local_part.lower())
    return f"{local}@{found.domain.lower()}", f"{local}@{found.ascii_domain.lower()}", None
