"""The three journeys that ship, rehearsed: copy these for your own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hogsend import days, hours, minutes
from hogsend.decisions.reasons import Reason
from hogsend.testing import PastRun, Rehearsal, after, before, rehearse, unsubscribed
from worker.journeys.activation_welcome import activation_welcome
from worker.journeys.payment_recovery import payment_recovery
from worker.journeys.trial_expiring import trial_expiring

TEMPLATES = Path(__file__).parent.parent.parent / "worker" / "templates"


def timetable(run: Rehearsal) -> list[tuple[str, int]]:
    """What was sent, and how many days after the trigger."""
    return [(email.template, email.after.days) for email in run.emails if email.status == "sent"]


class TestActivationWelcome:
    def test_whoever_creates_a_project_is_congratulated(self) -> None:
        run = rehearse(activation_welcome, happens=[after(days(1), "project.created")], templates=TEMPLATES)
        assert timetable(run) == [("welcome", 0), ("activation-congrats", 2)]
        assert run.checkpoints == ["activated"]
        assert run.status == "completed"

    def test_whoever_does_not_is_nudged(self) -> None:
        run = rehearse(activation_welcome, templates=TEMPLATES)
        assert timetable(run) == [("welcome", 0), ("activation-nudge", 2)]
        assert run.checkpoints == ["not-activated"]
        assert run.lasted == days(2)

    def test_a_project_a_moment_after_the_two_days_is_too_late(self) -> None:
        run = rehearse(activation_welcome, happens=[after(days(2) + minutes(1), "project.created")])
        assert run.sent == ["welcome", "activation-nudge"]

    def test_a_deleted_account_hears_nothing_more(self) -> None:
        run = rehearse(activation_welcome, happens=[after(hours(3), "account.deleted")])
        assert (run.status, run.exited_by, run.sent) == ("exited", "account.deleted", ["welcome"])
        assert run.lasted == hours(3)

    def test_nobody_enters_twice(self) -> None:
        run = rehearse(activation_welcome, happens=[PastRun("activation-welcome", ago=days(400))])
        assert (run.status, run.reason, run.sent) == ("skipped", Reason.ALREADY_ENTERED, [])

    def test_whoever_unsubscribes_is_left_alone(self) -> None:
        run = rehearse(activation_welcome, happens=[unsubscribed(days(1), "onboarding")])
        assert run.sent == ["welcome"]
        assert (run.emails[1].template, run.emails[1].status) == ("activation-nudge", "suppressed")
        assert run.emails[1].reason == Reason.UNSUBSCRIBED_FROM_CATEGORY

    def test_the_welcome_greets_by_name(self) -> None:
        run = rehearse(activation_welcome, user={"properties": {"first_name": "Grace"}}, templates=TEMPLATES)
        assert "Grace" in (run.emails[0].subject or "")


class TestTrialExpiring:
    def test_a_trial_that_runs_out(self) -> None:
        run = rehearse(trial_expiring, templates=TEMPLATES)
        assert timetable(run) == [("trial-ending", 11), ("trial-ended", 14)]
        assert run.checkpoints == ["expired"]
        assert "3 days" in (run.emails[0].subject or "")

    def test_an_upgrade_after_the_warning(self) -> None:
        pro = after(days(12), "subscription.created", {"plan": "pro"})
        run = rehearse(trial_expiring, happens=[pro], templates=TEMPLATES)
        assert timetable(run) == [("trial-ending", 11), ("trial-upgraded", 12)]
        assert run.emails[1].props == {"plan": "pro"}
        assert "Pro" in (run.emails[1].subject or "")

    @pytest.mark.parametrize("day", [0, 5, 11])
    def test_an_early_upgrade_is_never_warned(self, day: int) -> None:
        run = rehearse(
            trial_expiring, happens=[after(days(day), "subscription.created")], templates=TEMPLATES
        )
        assert timetable(run) == [("trial-upgraded", day)]
        assert run.checkpoints == ["upgraded"]

    def test_an_old_subscription_does_not_count(self) -> None:
        run = rehearse(trial_expiring, happens=[before(days(40), "subscription.created")])
        assert run.sent == ["trial-ending", "trial-ended"]

    @pytest.mark.parametrize(("ago", "enters"), [(29, False), (31, True)])
    def test_at_most_one_trial_in_thirty_days(self, ago: int, enters: bool) -> None:
        run = rehearse(trial_expiring, happens=[PastRun("trial-expiring", ago=days(ago))])
        assert (run.status != "skipped") is enters


class TestPaymentRecovery:
    BILL = {"invoice": "INV-7", "amount": 49.5}

    def test_it_reminds_twice_and_says_which_bill(self) -> None:
        run = rehearse(payment_recovery, properties=self.BILL, templates=TEMPLATES)
        assert timetable(run) == [("payment-failed", 0), ("payment-reminder", 3), ("payment-final-notice", 7)]
        for email in run.emails:
            assert email.props == self.BILL
            assert "INV-7" in (email.subject or "")
            assert "49.50" in (email.text or "")

    @pytest.mark.parametrize(("day", "sent"), [(1, 1), (3, 1), (5, 2), (6, 2)])
    def test_a_payment_ends_it_at_once(self, day: int, sent: int) -> None:
        run = rehearse(
            payment_recovery, properties=self.BILL, happens=[after(days(day), "payment.succeeded")]
        )
        assert (run.status, run.exited_by, len(run.sent)) == ("exited", "payment.succeeded", sent)
        assert run.lasted == days(day)

    def test_it_is_sent_to_those_who_unsubscribed(self) -> None:
        run = rehearse(payment_recovery, properties=self.BILL, happens=[unsubscribed(days(0))])
        assert len(run.sent) == 3

    def test_a_second_failure_starts_it_again(self) -> None:
        again = rehearse(payment_recovery, happens=[PastRun("payment-recovery", ago=days(1))])
        assert again.status == "completed"
        inside = rehearse(
            payment_recovery, happens=[PastRun("payment-recovery", ago=days(1), status="active")]
        )
        assert (inside.status, inside.reason) == ("skipped", Reason.ALREADY_IN_JOURNEY)
