"""Moments in people's own time zones: DST, leap days, the year's end, and zones that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogsend import WEEKDAYS, WEEKEND, JourneyError, when
from hogsend.journeys.schedule import DAYS, timezone_of

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


def local(text: str, zone: ZoneInfo, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "now", "expected"),
    [
        # 2026-01-15 is a Thursday.
        (when.next("monday", at="09:00"), "2026-01-15T10:00", "2026-01-19T09:00"),
        (when.next("thursday", at="11:00"), "2026-01-15T10:00", "2026-01-15T11:00"),
        (when.next("thursday", at="10:00"), "2026-01-15T10:00", "2026-01-22T10:00"),
        (when.next("Friday", at="00:00"), "2026-01-15T23:59", "2026-01-16T00:00"),
        (when.next(WEEKDAYS, at="09:00"), "2026-01-16T09:00", "2026-01-19T09:00"),
        (when.next(WEEKEND, at="09:00"), "2026-01-15T10:00", "2026-01-17T09:00"),
        (when.tomorrow(at="09:00"), "2026-01-15T08:00", "2026-01-16T09:00"),
        (when.tomorrow(at="09:00"), "2026-12-31T23:00", "2027-01-01T09:00"),
        (when.tomorrow(at="09:00"), "2028-02-28T12:00", "2028-02-29T09:00"),
        (when.in_days(1, at="09:00"), "2027-02-28T12:00", "2027-03-01T09:00"),
        (when.in_days(3, at="10:00"), "2026-12-30T12:00", "2027-01-02T10:00"),
        (when.window("09:00", "17:00"), "2026-01-15T10:00", "2026-01-15T10:00"),
        (when.window("09:00", "17:00"), "2026-01-15T08:00", "2026-01-15T09:00"),
        (when.window("09:00", "17:00"), "2026-01-15T17:00", "2026-01-16T09:00"),
        (when.window("09:00", "17:00", days=WEEKDAYS), "2026-01-16T17:30", "2026-01-19T09:00"),
        (when.window("22:00", "06:00"), "2026-01-15T03:00", "2026-01-15T03:00"),
        (when.window("22:00", "06:00", days="friday"), "2026-01-17T05:59", "2026-01-17T05:59"),
        (when.window("22:00", "06:00", days="friday"), "2026-01-17T06:00", "2026-01-23T22:00"),
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, ZoneInfo("Asia/Kolkata")], ids=str)
def test_a_moment(moment: when.Moment, now: str, expected: str, zone: ZoneInfo) -> None:
    assert moment.resolve(local(now, zone), zone) == local(expected, zone)


def test_the_day_is_the_persons_day() -> None:
    now = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)
    assert when.tomorrow(at="09:00").resolve(now, ZoneInfo("Asia/Tokyo")) == datetime(
        2026, 1, 17, 0, tzinfo=UTC
    )
    assert when.tomorrow(at="09:00").resolve(now, ZoneInfo("UTC")) == datetime(2026, 1, 16, 9, tzinfo=UTC)


def test_the_hour_stays_when_the_clocks_change() -> None:
    saturday = local("2026-03-28T09:00", BERLIN)
    sunday = when.tomorrow(at="09:00").resolve(saturday, BERLIN)
    assert sunday == local("2026-03-29T09:00", BERLIN)
    assert sunday - saturday == timedelta(hours=23)
    autumn = local("2026-10-24T09:00", BERLIN)
    assert when.tomorrow(at="09:00").resolve(autumn, BERLIN) - autumn == timedelta(hours=25)


def test_a_skipped_time_is_as_far_behind_the_jump() -> None:
    # 02:00 to 03:00 does not exist in Berlin on 2026-03-29.
    found = when.next("sunday", at="02:30").resolve(local("2026-03-28T12:00", BERLIN), BERLIN)
    assert found.astimezone(BERLIN).strftime("%F %H:%M") == "2026-03-29 03:30"
    again = when.next("sunday", at="02:30").resolve(found, BERLIN)
    assert again.astimezone(BERLIN).strftime("%F %H:%M") == "2026-04-05 02:30"


def test_a_time_that_comes_twice_is_the_first_unless_it_has_passed() -> None:
    # Berlin has 02:00 to 03:00 twice on 2026-10-25, a Sunday.
    first, second = local("2026-10-25T02:30", BERLIN, fold=0), local("2026-10-25T02:30", BERLIN, fold=1)
    moment = when.next("sunday", at="02:30")
    assert moment.resolve(local("2026-10-24T12:00", BERLIN), BERLIN) == first
    assert moment.resolve(first, BERLIN) == second
    assert moment.resolve(second, BERLIN) == local("2026-11-01T02:30", BERLIN)


def test_a_window_the_clock_jumps_over_does_not_open_that_day() -> None:
    window = when.window("02:30", "03:10")
    found = window.resolve(local("2026-03-29T01:00", BERLIN), BERLIN)
    assert found == local("2026-03-30T02:30", BERLIN)


def test_a_day_that_a_zone_never_had() -> None:
    # Samoa crossed the date line: there was no 2011-12-30.
    samoa = ZoneInfo("Pacific/Apia")
    found = when.tomorrow(at="09:00").resolve(local("2011-12-29T12:00", samoa), samoa)
    assert found.astimezone(samoa).strftime("%F %H:%M") == "2011-12-31 09:00"


_ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/St_Johns",
        "America/Havana",
        "Atlantic/Azores",
        "Africa/Casablanca",
        "Asia/Gaza",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kiritimati",
    ]
).map(ZoneInfo)
_INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
_TIMES = st.times().map(lambda at: at.strftime("%H:%M"))
_DAYS = st.sets(st.sampled_from(DAYS), min_size=1)


def _clock(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).strftime("%H:%M")


def _skipped(day: date, at: str, zone: ZoneInfo) -> bool:
    wanted = datetime.fromisoformat(f"{day} {at}")
    return wanted.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wanted


@given(_INSTANTS, _ZONES, _DAYS, _TIMES)
def test_next_is_ahead_on_one_of_its_days_at_its_time(
    now: datetime, zone: ZoneInfo, days: set[str], at: str
) -> None:
    found = when.next(days, at=at).resolve(now, zone)
    assert found > now
    assert found.tzinfo is UTC
    assert found - now <= timedelta(days=8)
    day = found.astimezone(zone).date()
    asked = [day, day - timedelta(days=1)]
    if not any(_skipped(one, at, zone) for one in asked):
        assert _clock(found, zone) == at
        assert DAYS[day.weekday()] in days
    # Nothing earlier would do: every day before it is either none of the days or already past.
    assert when.next(days, at=at).resolve(found - timedelta(microseconds=1), zone) == found


@given(_INSTANTS, _ZONES, st.integers(1, 366), _TIMES)
def test_in_days_counts_calendar_days(now: datetime, zone: ZoneInfo, count: int, at: str) -> None:
    found = when.in_days(count, at=at).resolve(now, zone)
    day = now.astimezone(zone).date() + timedelta(days=count)
    assert found > now
    if not _skipped(day, at, zone):
        assert (found.astimezone(zone).date(), _clock(found, zone)) == (day, at)


@given(_INSTANTS, _ZONES, _DAYS, _TIMES, _TIMES)
def test_a_window_is_open_when_it_says(
    now: datetime, zone: ZoneInfo, days: set[str], start: str, end: str
) -> None:
    if start == end:
        return
    window = when.window(start, end, days=days)
    found = window.resolve(now, zone)
    assert found >= now
    assert window.resolve(found, zone) == found
    if found > now:
        day = found.astimezone(zone).date()
        assert window.resolve(found - timedelta(microseconds=1), zone) == found
        if not _skipped(day, start, zone) and not _skipped(day - timedelta(days=1), start, zone):
            assert (_clock(found, zone), DAYS[day.weekday()] in days) == (start, True)


@pytest.mark.parametrize(
    "value",
    [None, 7, "", "Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 5000, "\udc80"],
)
def test_no_zone_is_utc(value: object) -> None:
    assert timezone_of({"timezone": value}) == ZoneInfo("UTC")
    assert timezone_of({}) == ZoneInfo("UTC")
    assert timezone_of({"timezone": "Europe/Berlin"}) == BERLIN


def test_a_moment_is_a_value_that_the_journal_can_hold() -> None:
    assert when.next("monday", at="09:00") == when.next("monday", at="09:00")
    assert when.next("monday", at="09:00").to_json() == {"next": ["monday"], "at": "09:00"}
    assert when.in_days(3, at="10:00").to_json() == {"inDays": 3, "at": "10:00"}
    assert when.window("09:00", "17:00", days=WEEKDAYS).to_json() == {
        "from": "09:00",
        "to": "17:00",
        "days": list(WEEKDAYS),
    }


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (when.next("monday", at="09:00"), "next monday at 09:00"),
        (when.next(WEEKDAYS, at="09:00"), "next weekday at 09:00"),
        (when.tomorrow(at="09:00"), "tomorrow at 09:00"),
        (when.in_days(3, at="10:00"), "in 3 days at 10:00"),
        (when.window("09:00", "17:00"), "between 09:00 and 17:00 on any day"),
        (
            when.window("09:00", "17:00", days=("sunday", "friday")),
            "between 09:00 and 17:00 on friday, sunday",
        ),
    ],
)
def test_a_moment_in_words(moment: when.Moment, words: str) -> None:
    assert moment.describe() == words


@pytest.mark.parametrize(
    ("mistake", "lesson"),
    [
        (lambda: when.next("someday", at="09:00"), 'name days as "monday"'),
        (lambda: when.next((), at="09:00"), "name days"),
        (lambda: when.next("monday", at="9:00"), "no time of day"),
        (lambda: when.next("monday", at="24:00"), "no time of day"),
        (lambda: when.tomorrow(at="09:60"), "no time of day"),
        (lambda: when.tomorrow(at="\u0660\u0669:\u0660\u0660"), "no time of day"),
        (lambda: when.in_days(0, at="09:00"), "from 1 to 366"),
        (lambda: when.in_days(True, at="09:00"), "from 1 to 366"),
        (lambda: when.window("09:00", "09:00"), "never open"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(mistake: Callable[[], object], lesson: str) -> None:
    with pytest.raises(JourneyError, match=lesson):
        mistake()
