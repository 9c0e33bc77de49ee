"""Whatever is said and done in whatever order, nothing reaches an address against its last word.

The oracle knows addresses and consent, and no contacts: the last word of each scope about each address, by when it was
said. It is the provider, and judges at the instant at which a message reaches it. What it says of an address itself, it
says late and in any order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hogsend import Context, User, journey
from hogsend.clock import ManualClock
from hogsend.consent import preference_centre
from hogsend.consent.suppression import TRANSACTIONAL, lift, suppress
from hogsend.consent.tokens import ReaderToken
from hogsend.contacts.actions import (
    PreferencesUpdate,
    delete_contact,
    update_contact,
    update_preferences,
)
from hogsend.contacts.import_batches import take_in
from hogsend.contacts.lookup import find, find_by
from hogsend.decisions.reasons import Reason
from hogsend.emails.providers.memory import MemoryProvider
from hogsend.emails.providers.message import Message
from hogsend.emails.sending.direct import request_of_test, resend_in, send_in
from hogsend.emails.sending.request import EmailRequest
from hogsend.emails.tracking.delivery_events import record_fact
from hogsend.emails.tracking.webhook_events import take_resend_event
from hogsend.engine.jobs import due_jobs, run_job
from hogsend.errors import Conflict, InvalidInput, NotFound
from hogsend.events.event import NewEvent
from hogsend.ingestion.ingest import ingest
from hogsend.runtime import Runtime
from hogsend.tables.emails import email_sends
from tests.driving import drive
from tests.fixtures.journeys import RunningWith
from worker.work import WORK

ADDRESSES = ("a@example.com", "b@example.com", "c@münchen.de")
SPELLINGS = {
    "a@example.com": " A@Example.com",
    "b@example.com": "b@EXAMPLE.com ",
    "c@münchen.de": "C@xn--mnchen-3ya.de",
}
USERS = ("ada", "bob", "cyd")
# How old a webhook of the provider's is when it comes.
AGES = {"ada": timedelta(0), "bob": timedelta(minutes=10), "cyd": timedelta(minutes=25)}
TICK = timedelta(microseconds=1)
CATEGORIES = (None, "news")


@journey(id="mails", trigger="signup", category="news")
async def mails(user: User, ctx: Context) -> None:
    await ctx.send("welcome")


@dataclass
class Oracle(MemoryProvider):
    """The world outside: it knows the last words, and takes no message against them."""

    words: dict[tuple[str, str], tuple[datetime, bool]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def hear(self, address: str, scope: str, allowed: bool, now: datetime) -> None:
        """What is said now is the last word."""
        before, _ = self.words.get((address, scope), (now - TICK, True))
        self.words[address, scope] = max(now, before + TICK), allowed

    def report(self, address: str, scope: str, allowed: bool, at: datetime) -> None:
        """What was said some time ago is the last word only where nothing was said since; a refusal wins a tie."""
        word = (at, allowed)
        held = self.words.get((address, scope), word)
        self.words[address, scope] = max(held, word, key=lambda one: (one[0], not one[1]))

    async def send(self, message: Message, *, idempotency_key: str) -> str:
        category = message.tags.get("category")
        scopes = ["complaint", "bounce", "manual"]
        if category != TRANSACTIONAL:
            scopes += ["all", f"category:{category}"]
        against = [scope for scope in scopes if not self.words.get((message.to, scope), (None, True))[1]]
        if against:  # raised, it would be taken for a provider that does not answer
            self.violations.append(f"{category} reached {message.to} against {against}")
        return await super().send(message, idempotency_key=idempotency_key)


Act = tuple[str, str, str, str | None, bool]
ACTS = st.tuples(
    st.sampled_from(
        (
            "event",
            "link",
            "link",
            "operator",
            "complaint",
            "lift",
            "wait",
            "late bounce",
            "late bounce",
            "late removal",
            "late removal",
            "late opt-out",
            "delete",
            "move",
            "import",
            "send to",
            "send to for",
            "send user",
            "bounce and resend",
            "test send",
            "work",
        )
    ),
    st.sampled_from(ADDRESSES),
    st.sampled_from(USERS),
    st.sampled_from(CATEGORIES),
    st.booleans(),
)


class World:
    """Carries acts out on a runtime, and tells the oracle what was said."""

    def __init__(self, runtime: Runtime, oracle: Oracle) -> None:
        self.runtime = runtime
        self.clock = runtime.clock
        self.oracle = oracle
        self.webhooks = 0

    async def do(self, act: Act) -> None:
        what, address, user, category, yes = act
        try:
            await getattr(self, f"_{re.sub('[ -]', '_', what)}")(address, user, category, yes)
        except (Conflict, NotFound, InvalidInput):
            return

    async def _event(self, address: str, user: str, _category: str | None, yes: bool) -> None:
        await ingest(
            self.runtime, NewEvent("signup", external_id=user if yes else None, email=SPELLINGS[address])
        )
        await drive(self.runtime)

    async def _link(self, address: str, user: str, category: str | None, yes: bool) -> None:
        """The reader of an email to this address: written to as whoever has it, or had it."""
        async with self.runtime.database.read() as conn:
            holder = await find_by(conn, email=address)
            sent = select(email_sends.c.contact_id).where(email_sends.c.to_email == address)
            former = (await conn.execute(sent.limit(1))).scalar_one_or_none()
        contact_id = (holder["id"] if holder else None) if yes else former
        own = contact_id is not None and (holder is None or holder["email"] == address)
        token = ReaderToken(address, contact_id if own else None, None, category)
        if category is None and yes:
            await preference_centre.choose(self.runtime, token, known=(), wanted=(), resubscribe=True)
            self.oracle.hear(address, "all", True, self.clock.now())
        elif category is not None and yes:
            await preference_centre.choose(
                self.runtime, token, known=[category], wanted=[category], resubscribe=False
            )
            self.oracle.hear(address, f"category:{category}", True, self.clock.now())
        else:
            await preference_centre.unsubscribe(self.runtime, token, category=category, source="one-click")
            self.oracle.hear(address, f"category:{category}" if category else "all", False, self.clock.now())

    async def _operator(self, _address: str, user: str, category: str | None, yes: bool) -> None:
        async with self.runtime.database.transaction() as conn:
            contact = await find(conn, user)
            if contact is None:
                return
            change = (
                PreferencesUpdate(unsubscribed_all=not yes)
                if category is None
                else PreferencesUpdate(categories={category: yes})
            )
            await update_preferences(conn, self.clock, contact["id"], change)
        self.oracle.hear(
            contact["email"], f"category:{category}" if category else "all", yes, self.clock.now()
        )

    async def _complaint(self, address: str, *_: Any) -> None:
        async with self.runtime.database.transaction() as conn:
            await suppress(conn, self.clock, SPELLINGS[address], "complaint", source="provider")
        self.oracle.hear(address, "complaint", False, self.clock.now())

    async def _lift(self, address: str, *_: Any) -> None:
        async with self.runtime.database.transaction() as conn:
            await lift(conn, self.clock, SPELLINGS[address])
        for scope in ("complaint", "bounce", "manual"):
            self.oracle.hear(address, scope, True, self.clock.now())

    async def _wait(self, *_: Any) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(timedelta(minutes=10))

    async def _late_bounce(self, address: str, user: str, *_: Any) -> None:
        await self._resend("suppression.added", address, user, {"origin": "bounce"}, "bounce", allowed=False)

    async def _late_removal(self, address: str, user: str, *_: Any) -> None:
        await self._resend("suppression.removed", address, user, {}, "bounce", allowed=True)

    async def _late_opt_out(self, address: str, user: str, *_: Any) -> None:
        await self._resend("contact.updated", address, user, {"unsubscribed": True}, "all", allowed=False)

    async def _resend(
        self, type: str, address: str, user: str, about: dict[str, Any], scope: str, *, allowed: bool
    ) -> None:
        """A webhook of Resend's, on its way for so long."""
        at = self.clock.wall() - AGES[user]
        body = {"type": type, "created_at": at.isoformat(), "data": {"email": SPELLINGS[address], **about}}
        self.webhooks += 1
        await take_resend_event(self.runtime, f"event-{self.webhooks}", body)
        self.oracle.report(address, scope, allowed, self.clock.now() - AGES[user])

    async def _delete(self, _address: str, user: str, *_: Any) -> None:
        await self._with_contact(user, lambda conn, contact_id: delete_contact(conn, self.clock, contact_id))

    async def _move(self, address: str, user: str, *_: Any) -> None:
        await self._with_contact(
            user,
            lambda conn, contact_id: update_contact(conn, self.clock, contact_id, email=SPELLINGS[address]),
        )

    async def _with_contact(self, user: str, act: Callable[[Any, UUID], Any]) -> None:
        async with self.runtime.database.transaction() as conn:
            contact = await find(conn, user)
            if contact is not None:
                await act(conn, contact["id"])

    async def _import(self, address: str, user: str, *_: Any) -> None:
        async with self.runtime.database.transaction() as conn:
            await take_in(conn, self.clock, 1, [(user, SPELLINGS[address], {})])

    async def _send_to(self, address: str, _user: str, category: str | None, _yes: bool) -> None:
        await self._send(EmailRequest("welcome", to=SPELLINGS[address], category=category or "tips"))

    async def _send_to_for(self, address: str, user: str, category: str | None, _yes: bool) -> None:
        await self._send(
            EmailRequest("welcome", to=SPELLINGS[address], user_id=user, category=category or "tips")
        )

    async def _send_user(self, _address: str, user: str, category: str | None, _yes: bool) -> None:
        await self._send(EmailRequest("welcome", user_id=user, category=category or "tips"))

    async def _test_send(self, address: str, _user: str, _category: str | None, yes: bool) -> None:
        template = "receipt" if yes else "welcome"
        await self._send(request_of_test(self.runtime, template, SPELLINGS[address], {}))

    async def _send(self, request: EmailRequest) -> None:
        async with self.runtime.database.transaction() as conn:
            await send_in(conn, self.runtime, request, key=None, reason=Reason.API_ASKED)

    async def _bounce_and_resend(self, address: str, *_: Any) -> None:
        """A soft bounce, which is no word about the address, of the newest email there; then the operator's resend."""
        async with self.runtime.database.transaction() as conn:
            newest = select(email_sends.c.id).where(
                email_sends.c.to_email == address, email_sends.c.sent_at.is_not(None)
            )
            found = await conn.execute(
                newest.order_by(email_sends.c.sent_at.desc(), email_sends.c.created_at.desc()).limit(1)
            )
            email_id = found.scalar_one_or_none()
            if email_id is None:
                return
            now = self.clock.now()
            await record_fact(conn, email_id=email_id, type="bounced", at=now, hard=False)
            await resend_in(conn, self.runtime, email_id)

    async def _work(self, *_: Any) -> None:
        while due := await due_jobs(self.runtime, 50):
            for job_id in due:
                await run_job(self.runtime, WORK, job_id, "test")
        await drive(self.runtime)


@settings(
    max_examples=int(os.environ.get("HOGSEND_EXAMPLES", "15")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=st.lists(ACTS, min_size=4, max_size=20))
async def test_nothing_reaches_an_address_against_its_last_word(
    running: RunningWith, clock: ManualClock, clean_again: Any, acts: Sequence[Act]
) -> None:
    await clean_again()
    oracle = Oracle()
    async with running(mails, provider=oracle) as runtime:
        world = World(runtime, oracle)
        for act in acts:
            await world.do(act)
        await world._work()
        async with runtime.database.transaction() as conn:
            asked = EmailRequest("welcome", to="fresh@example.com")
            await send_in(conn, runtime, asked, key=None, reason=Reason.API_ASKED)
        await world._work()
    assert oracle.violations == []
    assert len(oracle.to("fresh@example.com")) == 1
