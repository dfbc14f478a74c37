"""Ids that are times, and ids that are always the same."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from outbox.ids import derived_id, lowest_id, new_id, time_of

moments = st.datetimes(datetime(1971, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments)
def test_an_id_is_its_moment_to_the_millisecond(moment: datetime) -> None:
    event_id = new_id(moment)
    assert event_id.version == 7
    assert timedelta(0) <= moment - time_of(event_id) < timedelta(milliseconds=1)
    assert lowest_id(moment) <= event_id < lowest_id(moment + timedelta(milliseconds=1))


@given(moments, st.text(), st.text())
def test_a_derived_id_is_the_same_for_the_same_and_lies_at_its_moment(
    moment: datetime, one: str, two: str
) -> None:
    assert derived_id(one, two, at=moment) == derived_id(one, two, at=moment)
    assert derived_id(one, two, at=moment).version == 8
    assert timedelta(0) <= moment - time_of(derived_id(one, two, at=moment)) < timedelta(milliseconds=1)


def test_parts_are_not_confused() -> None:
    assert derived_id("ab", "c") != derived_id("a", "bc")
    assert time_of(derived_id("a")) == datetime(1970, 1, 1, tzinfo=UTC)
