"""A database that answers and can keep nothing more, as with a full disk: what is sent cannot be recorded."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

import outbox
from outbox import publish
from outbox.config import config
from outbox.kafka import Cluster
from outbox.models import Publication
from outbox.relay import FEWEST, Relay
from tests.engine import Running, all_records, new_topic, noted_on, numbers_by_key, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

TOTAL = 12 * FEWEST
FULL = """
CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER disk_is_full BEFORE INSERT ON outbox_publication FOR EACH ROW EXECUTE FUNCTION disk_is_full()
"""


@contextmanager
def no_room_for_traces() -> Iterator[None]:
    """The error that PostgreSQL gives, of a trigger: a disk that is truly full is in the acceptance tests."""
    with connection.cursor() as sql:
        sql.execute(FULL)
    try:
        yield
    finally:
        with connection.cursor() as sql:
            sql.execute("DROP FUNCTION disk_is_full() CASCADE")


def test_a_relay_that_cannot_record_waits_longer_and_longer_and_sends_little_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would fill Kafka's disk, too."""
    waits: list[int] = []

    def counted() -> Iterator[float]:
        for number in range(1_000):
            waits.append(number)
            yield 0.01

    monkeypatch.setattr("outbox.relay.backoff", counted)
    topic = new_topic(partitions=2)
    event = noted_on(topic)
    with outbox.atomic():
        for number in range(TOTAL):
            publish(event(about=f"key {number % 16}"))
    with Running(lambda stop: Relay(stop=stop)):
        with no_room_for_traces():
            until(lambda: len(waits) > 5)
        until(lambda: Publication.objects.count() == TOTAL)
        assert waits == list(range(len(waits)))
    assert "waiting: could not extend file: No space left on device" in caplog.text
    sent = sum(Cluster(config().kafka).watermarks([(topic.name, 0), (topic.name, 1)]).values())
    assert sent - TOTAL <= len(waits) * FEWEST
    numbers = numbers_by_key(all_records(topic))
    assert numbers == {f"key {key}": list(range(1, TOTAL // 16 + 1)) for key in range(16)}
