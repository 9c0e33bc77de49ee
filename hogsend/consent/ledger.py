"""The consent ledger: opt-outs, opt-ins, complaints, bounces and suppressions, by the address that they are about.

A word is about an address as it is delivered to, whoever holds it: it outlives the contact, merges, deletion and a
change of address. Addresses are kept as a keyed hash, so that an erased person stays protected. The last word of each
scope counts, by when it was said, not by when it was heard; of two that were said at once, the refusal. Whoever needs
an answer to hold until a commit has the lock of the address (`address_lock`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import LargeBinary, Text, bindparam, func, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from hogsend.addresses import delivery_address, sigma_spellings
from hogsend.decisions.reasons import Reason
from hogsend.tables.consent import consent_ledger

ALL = "all"
CATEGORY = "category:"
COMPLAINT, BOUNCE, MANUAL = "complaint", "bounce", "manual"

# In the order in which they are named where an address has several. Nothing at all is sent against these.
SUPPRESSIONS: Mapping[str, Reason] = {
    COMPLAINT: Reason.ADDRESS_COMPLAINED,
    BOUNCE: Reason.ADDRESS_BOUNCED,
    MANUAL: Reason.SUPPRESSED_BY_OPERATOR,
}

_l = consent_ledger.c
_LATEST = (_l.at.desc(), _l.allowed, _l.seq.desc())
_NEXT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Word:
    """The last word about one scope of an address. `seq` is its row in the ledger."""

    scope: str
    allowed: bool
    source: str
    evidence: Mapping[str, Any]
    at: datetime
    seq: int

    def to_json(self) -> dict[str, Any]:
        """As decisions and `explain` show it."""
        return {"ledger": self.seq, "scope": self.scope, "source": self.source, "at": self.at.isoformat()}

    @property
    def order(self) -> tuple[datetime, bool, int]:
        """Later words are greater."""
        return self.at, not self.allowed, self.seq


Words = Mapping[str, Word]


def of_email(email_id: UUID | None) -> dict[str, Any]:
    """Evidence: the email by which something was said. Never an address."""
    return {} if email_id is None else {"email_id": str(email_id)}


def of_contact(contact_id: UUID) -> dict[str, Any]:
    """Evidence: the contact whose refusals are carried to another address."""
    return {"contact_id": str(contact_id)}


def category_scope(name: str) -> str:
    return f"{CATEGORY}{name}"


def last_word(words: Words, scope: str) -> Word | None:
    """The last word of a scope, in whatever spelling of its category."""
    spoken = [word for word in words.values() if same_category(word.scope, scope)]
    return max(spoken, key=lambda word: word.order, default=None)


def same_category(one: str, other: str) -> bool:
    """Whether two spellings name one category: a sender's slip of the shift key is no way around an opt-out."""
    return _folded(one) == _folded(other)


def one_spelling(names: Iterable[str]) -> dict[str, list[str]]:
    """Each category once, in the spelling that comes first, with all that name it."""
    first: dict[str, str] = {}
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(first.setdefault(_folded(name), name), []).append(name)
    return spellings


def _folded(name: str) -> str:
    """Without the space around it, whatever its case and its Unicode form."""
    prefix = CATEGORY if name.startswith(CATEGORY) else ""
    folded = unicodedata.normalize("NFD", name.removeprefix(CATEGORY).strip()).casefold()
    return prefix + unicodedata.normalize("NFC", folded)


def address_lock(address: str) -> str:
    """The subject that `lock_subjects` takes for an address: the same as that of the contact's key."""
    return f"email:{delivery_address(address)}"


def _hash(address: str) -> Any:
    return func.consent_hash(literal(delivery_address(address), Text), type_=LargeBinary)


_WORDS = (
    select(_l.scope, _l.allowed, _l.source, _l.evidence, _l.at, _l.seq)
    .ext(distinct_on(_l.scope))
    .where(_l.address_hash == func.consent_hash(bindparam("address", type_=Text)))
    .order_by(_l.scope, *_LATEST)
)


async def words_about(conn: AsyncConnection, address: str) -> dict[str, Word]:
    """The last word of each scope that was ever spoken of, about one address."""
    words: dict[str, Word] = {}
    for spelling in sigma_spellings(address):
        for row in await conn.execute(_WORDS, {"address": spelling}):
            word = Word(row.scope, row.allowed, row.source, row.evidence, row.at, row.seq)
            if word.scope not in words or words[word.scope].order < word.order:
                words[word.scope] = word
    return words


_SPOKEN_OF = text(
    "SELECT DISTINCT address"
    " FROM unnest(CAST(:addresses AS text[]), CAST(:spellings AS text[])) AS given (address, spelling)"
    " WHERE EXISTS (SELECT FROM consent_ledger WHERE address_hash = consent_hash(spelling))"
)


async def spoken_of(conn: AsyncConnection, addresses: Iterable[str]) -> list[str]:
    """Those of these addresses, each as it is delivered to, about which there is any word at all. One statement."""
    given = [(address, each) for address in addresses for each in sigma_spellings(address)]
    names = {"addresses": [address for address, _ in given], "spellings": [each for _, each in given]}
    return list((await conn.execute(_SPOKEN_OF, names)).scalars())


async def refusers_of(conn: AsyncConnection, address: str) -> dict[str, set[str]]:
    """By scope, the sources of all refusals since the last agreement: not of the last one alone."""
    hashes = [_hash(spelling) for spelling in sigma_spellings(address)]
    said = select(_l.scope, _l.allowed, _l.source, _l.at).where(_l.address_hash.in_(hashes))
    rows = (await conn.execute(said.order_by(_l.at, _l.allowed.desc()))).all()
    sources: dict[str, set[str]] = {}
    for row in rows:
        sources[row.scope] = set() if row.allowed else sources.get(row.scope, set()) | {row.source}
    return sources


async def record_words(
    conn: AsyncConnection,
    at: datetime,
    address: str,
    said: Mapping[str, bool],
    *,
    source: str,
    evidence: Mapping[str, Any] | None = None,
    reported: bool = False,
    repeats: bool = False,
) -> dict[str, bool]:
    """Append what was said about an address, by scope, where it is not what the ledger says already.

    `reported`: it was said at `at`, and is heard of now: what was said later stands. Otherwise it is said now, and is
    the last word, whatever the clocks of those before it showed. `repeats`: what was said once more is kept as well,
    so that a word from between the two is known to be the older one.
    Returns what holds now and did not before. In the caller's transaction; take `address_lock` before, where two may
    speak at once.
    """
    known = await words_about(conn, address)
    new: dict[str, bool] = {}
    rows: list[dict[str, Any]] = []
    for scope, allowed in said.items():
        word = last_word(known, scope)
        instant = at if reported or word is None else max(at, word.at + _NEXT)
        changes = _changes(word, allowed, instant)
        if changes:
            new[scope] = allowed
        if changes or (repeats and _is_repeat(word, allowed, instant, source, reported)):
            rows.append({"scope": scope, "allowed": allowed, "source": source, "at": instant})
    if rows:
        same = {"address_hash": _hash(address), "evidence": dict(evidence or {})}
        await conn.execute(insert(consent_ledger).values([{**row, **same} for row in rows]))
    return new


def _changes(word: Word | None, allowed: bool, at: datetime) -> bool:
    if word is None or word.allowed == allowed:
        return word is None and not allowed
    return at > word.at or (at == word.at and not allowed)


def _is_repeat(word: Word | None, allowed: bool, at: datetime, source: str, reported: bool) -> bool:
    """Whether it is worth a row beside the last word, which says the same."""
    if allowed:
        return reported and (word is None or (word.allowed and at > word.at))
    return word is not None and not word.allowed and (source != word.source or at > word.at)


def refusing(words: Words, category: str | None, *, transactional: bool) -> tuple[Reason, Word] | None:
    """The word that forbids an email of this category, and its reason; None where none does."""
    for scope, reason in SUPPRESSIONS.items():
        if (word := words.get(scope)) is not None and not word.allowed:
            return reason, word
    if transactional:
        return None
    if (word := words.get(ALL)) is not None and not word.allowed:
        return Reason.UNSUBSCRIBED_FROM_ALL, word
    if category is not None:
        word = last_word(words, category_scope(category))
        if word is not None and not word.allowed:
            return Reason.UNSUBSCRIBED_FROM_CATEGORY, word
    return None


async def refused_among(conn: AsyncConnection, addresses: Sequence[str]) -> set[str]:
    """Those of `addresses` about which something is refused now. One statement, unless there are sigmas."""
    spelled = {address: sigma_spellings(address) for address in addresses}
    several = [address for address, spellings in spelled.items() if len(spellings) > 1]
    refused = {
        address
        for address in several
        if any(not word.allowed for word in (await words_about(conn, address)).values())
    }
    spoken = select(func.unnest(bindparam("addresses", type_=ARRAY(Text))).label("address")).subquery(
        "spoken"
    )
    last = (
        select(spoken.c.address, _l.scope, _l.allowed)
        .ext(distinct_on(spoken.c.address, _l.scope))
        .join_from(spoken, consent_ledger, _l.address_hash == func.consent_hash(spoken.c.address))
        .order_by(spoken.c.address, _l.scope, *_LATEST)
        .subquery("last")
    )
    rows = await conn.execute(
        select(last.c.address).distinct().where(~last.c.allowed),
        {"addresses": [spellings[0] for spellings in spelled.values() if len(spellings) == 1]},
    )
    return refused | set(rows.scalars())
