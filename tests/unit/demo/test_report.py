"""The figures of a load."""

import math

import pytest

from demo.load import Shot
from demo.report import Report, percentile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1), (0.0, 1)]
)
def test_percentiles_are_values_that_were_seen(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_of_nothing_there_is_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_every_shot_is_counted_once() -> None:
    report = Report.of(
        [
            Shot(scheduled_at=0, answered=0.2, event_id="a", processed=0.4),
            Shot(scheduled_at=0, answered=0.1, event_id="b"),
            Shot(scheduled_at=0, error="request: 503 Service Unavailable"),
            Shot(scheduled_at=0, error="request: 503 Service Unavailable", late=0.2),
            Shot(scheduled_at=0, error="validate: ReadTimeout"),
        ]
    )
    assert (report.sent, report.late, report.unprocessed) == (5, 1, 1)
    assert report.errors == {"request: 503 Service Unavailable": 2, "validate: ReadTimeout": 1}
    assert report.answers == [0.1, 0.2]
    assert report.effects == [0.4]
    assert not report.complete


def test_a_load_is_complete_when_all_was_processed() -> None:
    assert Report.of([Shot(scheduled_at=0, answered=0.2, event_id="a", processed=0.4)]).complete
