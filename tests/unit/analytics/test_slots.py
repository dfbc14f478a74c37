"""Where slots begin: in zones with half hours, and on days that clocks make shorter, longer or start late."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import AnalyticsError, NotAMoment, TooManySlots, UnknownZone, UpsideDown
from analytics.slots import (
    MOST_SLOTS,
    SLOTS,
    WIDTHS,
    Span,
    beginning_of,
    floor,
    span_of,
    stored_width,
    zone_named,
)

NOW = datetime(2026, 3, 29, 12, 34, 56, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def days(zone: str, start: str, end: str) -> list[datetime]:
    return Span("1d", at(start), at(end), ZoneInfo(zone)).boundaries()


def test_days_follow_the_clocks_of_the_zone() -> None:
    spring = days("Europe/Berlin", "2026-03-28T00:00+01:00", "2026-03-31T00:00+02:00")
    assert [moment.isoformat() for moment in spring] == [
        "2026-03-27T23:00:00+00:00",
        "2026-03-28T23:00:00+00:00",
        "2026-03-29T22:00:00+00:00",
        "2026-03-30T22:00:00+00:00",
    ]
    autumn = days("Europe/Berlin", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00")
    assert autumn[1] - autumn[0] == timedelta(hours=25)


def test_hours_between_those_of_utc_are_refused_earlier() -> None:
    def asked(zone: str) -> Span:
        return span_of(slot="1h", start="2025-01-01", end="2026-01-01", zone=ZoneInfo(zone), now=NOW)

    assert len(asked("Europe/Berlin").boundaries()) == 8_761
    with pytest.raises(TooManySlots, match="8,760 hours of Asia/Kolkata"):
        asked("Asia/Kolkata")


@pytest.mark.parametrize(
    ("zone", "day", "beginning"),
    [
        # Clocks go from 24:00 to 01:00: the day begins at 01:00.
        ("Asia/Beirut", date(2026, 3, 29), "2026-03-28T22:00:00+00:00"),
        # From 01:00 back to 00:00: the first of the two midnights.
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00:00+00:00"),
        ("Asia/Kathmandu", date(2026, 1, 1), "2025-12-31T18:15:00+00:00"),
        # From 23:30 to 00:30: the day begins at 00:30.
        ("America/Toronto", date(1919, 3, 31), "1919-03-31T04:30:00+00:00"),
        ("UTC", date(2026, 1, 1), "2026-01-01T00:00:00+00:00"),
    ],
)
def test_a_day_begins_with_its_first_moment(zone: str, day: date, beginning: str) -> None:
    found = beginning_of(day, ZoneInfo(zone))
    assert found is not None
    assert found.isoformat() == beginning


def test_a_day_that_a_zone_left_out_has_no_slot() -> None:
    assert beginning_of(date(2011, 12, 30), ZoneInfo("Pacific/Apia")) is None
    assert len(days("Pacific/Apia", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00")) == 2


def test_hours_are_those_of_the_clock() -> None:
    start, end = at("2026-01-01T00:00Z"), at("2026-01-01T03:00Z")
    assert Span("1h", start, end, ZoneInfo("Europe/Berlin")).boundaries()[0] == start
    in_india = Span("1h", start, end, ZoneInfo("Asia/Kolkata")).boundaries()
    assert [moment.minute for moment in in_india] == [30, 30, 30, 30]
    assert stored_width(in_india) == "15m"
    # Clocks go back by half an hour: one hour lasts 90 minutes.
    howe = Span("1h", at("2026-04-04T12:00Z"), at("2026-04-04T18:00Z"), ZoneInfo("Australia/Lord_Howe"))
    boundaries = howe.boundaries()
    lasts = {later - earlier for earlier, later in pairwise(boundaries)}
    assert lasts == {timedelta(hours=1), timedelta(minutes=90)}


ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/Havana",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Chatham",
    "America/Sao_Paulo",
]


@given(
    slot=st.sampled_from(SLOTS),
    zone=st.sampled_from(ZONES),
    minute=st.integers(0, 64 * 366 * 1440),
    length=st.integers(1, 200),
    part=st.floats(0.01, 1.0),
)
def test_slots_are_whole_follow_one_another_and_begin_in_the_span(
    slot: str, zone: str, minute: int, length: int, part: float
) -> None:
    first = datetime(1973, 1, 1, tzinfo=UTC) + timedelta(minutes=minute, seconds=length % 3)
    end = first + WIDTHS[slot] * (length * part) + timedelta(microseconds=1)
    boundaries = Span(slot, first, end, ZoneInfo(zone)).boundaries()
    assert boundaries == sorted(set(boundaries))
    assert all(first <= boundary < end for boundary in boundaries[:-1])
    assert boundaries[-1] >= end
    width = WIDTHS[stored_width(boundaries)]
    assert len(boundaries) == 1 or width <= WIDTHS[slot]
    assert all(floor(boundary, width) == boundary for boundary in boundaries)


def test_what_is_left_out() -> None:
    span = span_of(slot="5m", start=None, end=None, zone=ZoneInfo("UTC"), now=NOW)
    assert (span.start, span.end) == (NOW - timedelta(hours=5), NOW)


def test_times_without_an_offset_are_the_zones() -> None:
    zone = ZoneInfo("Europe/Berlin")
    span = span_of(slot="1h", start="2026-03-29", end="2026-03-29T12:00", zone=zone, now=NOW)
    assert span.start == at("2026-03-28T23:00Z")
    assert span.end == at("2026-03-29T10:00Z")
    span = span_of(slot="1h", start="2026-03-29t00:00z", end="2026-03-29T12:00+05:30", zone=zone, now=NOW)
    assert (span.start, span.end) == (at("2026-03-29T00:00Z"), at("2026-03-29T06:30Z"))


@pytest.mark.parametrize(
    ("start", "end", "error"),
    [
        ("2026-03-02", "2026-03-01", UpsideDown),
        ("2026-03-01", "2026-03-01", UpsideDown),
        ("1926-01-01", "2026-01-01", NotAMoment),
        ("1980-01-01", "2080-01-01", TooManySlots),
        ("0001-01-01", None, NotAMoment),
        ("1972-12-31T23:59Z", "1973-01-02", NotAMoment),  # Monrovia was 44 minutes and a half off UTC
        ("2026-01-01", "9999-12-31", NotAMoment),
        ("yesterday", None, NotAMoment),
        ("2026-02-30", None, NotAMoment),
        ("2026-W10-1", None, NotAMoment),
        ("٢٠٢٦-01-01", None, NotAMoment),
        ("2026-01-01T25:00", None, NotAMoment),
        ("2026-01-01T00:00:00+25:00", None, NotAMoment),
        ("", None, NotAMoment),
        ("9" * 10_000, None, NotAMoment),
    ],
)
def test_what_is_no_range_is_refused(start: str, end: str | None, error: type[AnalyticsError]) -> None:
    with pytest.raises(error):
        span_of(slot="1m", start=start, end=end, zone=ZoneInfo("UTC"), now=NOW)


def test_a_refusal_says_what_to_ask_instead() -> None:
    with pytest.raises(TooManySlots, match=f"17,544 slots of 1h, and at most {MOST_SLOTS:,}"):
        span_of(slot="1h", start="2024-01-01", end="2026-01-01", zone=ZoneInfo("UTC"), now=NOW)


@given(st.integers(0, 100_000_000), st.integers(1, 10_000_000))
def test_edges_are_where_the_boundaries_begin_and_end(since: int, seconds: int) -> None:
    first = NOW + timedelta(seconds=since)
    span = Span("5m", first, first + timedelta(seconds=seconds), ZoneInfo("UTC"))
    boundaries = span.boundaries()
    assert span.edges() == (boundaries[0], boundaries[-1])


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "../../etc/passwd", "europe/berlin", "UTC\x00", "a" * 9_999]
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownZone):
        zone_named(name)
