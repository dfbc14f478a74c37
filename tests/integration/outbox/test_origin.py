"""What a relay does about a database or a Kafka that is not the one it knew, and what it can be told."""

from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from outbox import Topic, adopting, publish
from outbox.config import config
from outbox.errors import NotAdopted, RestoredDatabase
from outbox.ids import new_id
from outbox.lease import Leases
from outbox.models import OutboxEvent, Publication
from outbox.relay import Relay
from outbox.relay_models import Origin
from tests.engine import NOW, Running, new_topic, noted_on, record_of, records_in, send, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def topic() -> Topic:
    return new_topic(partitions=2)


def relay_all() -> None:
    with Running(lambda stop: Relay(stop=stop)):
        until(lambda: not _unsent())


def _unsent() -> int:
    with connection.cursor() as sql:
        sql.execute(
            "SELECT count(*) FROM outbox_event LEFT JOIN outbox_shard USING (shard)"
            " WHERE pg_visible_in_snapshot(txid, previous) IS NOT true"
        )
        return int(sql.fetchone()[0])


def publish_one(topic: Topic, about: str = "a") -> UUID:
    with transaction.atomic():
        return publish(noted_on(topic)(about=about))


def refusal(topic: Topic) -> str:
    """What a relay ends with."""
    with Running(lambda stop: Relay(stop=stop), may_fail=True) as running:
        until(lambda: running.error)
    assert isinstance(running.error, RestoredDatabase)
    return str(running.error)


def test_the_first_relay_takes_the_database_and_kafka_as_they_are(topic: Topic) -> None:
    foreign = record_of(noted_on(topic)(about="a"), headers={"ce_source": _source()})
    send(foreign)
    publish_one(topic)
    relay_all()
    assert Origin.objects.get().ends[f"{topic.name}/0"] == 1
    relay_all()


def test_records_under_its_name_that_it_never_wrote_end_a_relay_that_runs(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.relay.CHECK_SECONDS", 0.1)
    publish_one(topic)
    with Running(lambda stop: Relay(stop=stop), may_fail=True) as running:
        until(lambda: Publication.objects.exists())
        send(record_of(noted_on(topic)(about="b"), headers={"ce_source": b"/another/tests"}))
        pruned = new_id(NOW.replace(year=2020))
        send(record_of(noted_on(topic)(about="b"), event_id=pruned, headers={"ce_source": _source()}))
        publish_one(topic)
        until(lambda: Publication.objects.count() == 2)
        assert running.error is None
        send(record_of(noted_on(topic)(about="b"), headers={"ce_source": _source()}))
        until(lambda: running.error)
    assert isinstance(running.error, RestoredDatabase)
    assert f"of {topic.name}/0" in str(running.error)
    assert "another database writes under the same name" in str(running.error)


def test_a_promoted_server_that_lacks_nothing_is_taken_as_it_is(
    topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    publish_one(topic)
    relay_all()
    now = Origin.objects.get().timeline
    Origin.objects.update(timeline="00000000")
    publish_one(topic)
    with caplog.at_level("INFO", "outbox.origin"):
        relay_all()
    assert "promoted" in caplog.text
    assert Origin.objects.get().timeline == now


def test_a_role_that_may_not_ask_for_the_system_goes_by_the_records_alone(topic: Topic) -> None:
    publish_one(topic)
    relay_all()
    Origin.objects.update(server="unknown/1")
    relay_all()


def test_another_kafka_is_sent_what_is_new_or_all_that_there_is(topic: Topic) -> None:
    first = publish_one(topic)
    relay_all()
    Origin.objects.update(kafka="the old one")
    second = publish_one(topic)
    assert "another Kafka" in refusal(topic)
    call_command("relay", "adopt", "kafka")
    relay_all()
    assert _ids(topic, 2) == [first, second]
    Origin.objects.update(kafka="the old one")
    call_command("relay", "adopt", "kafka", "--resend")
    relay_all()
    assert _ids(topic, 4) == [first, second, first, second]


def test_a_copy_sends_nothing_of_what_its_original_sends(topic: Topic) -> None:
    publish_one(topic)
    relay_all()
    unsent = publish_one(topic)
    Origin.objects.update(server="the original/1")
    assert "another database" in refusal(topic)
    with pytest.raises(CommandError, match="one of its own"):
        call_command("relay", "adopt", "clone")
    Origin.objects.update(kafka="the original's")
    call_command("relay", "adopt", "clone")
    own = publish_one(topic)
    relay_all()
    assert Publication.objects.filter(event_id=own).exists()
    assert not Publication.objects.filter(event_id=unsent).exists()


def test_what_does_not_fit_is_not_adopted(topic: Topic) -> None:
    with pytest.raises(NotAdopted, match="No relay has run here"):
        adopting.from_backup()
    publish_one(topic)
    relay_all()
    with pytest.raises(NotAdopted, match="all along"):
        adopting.with_new_kafka(resend=True)
    other = Leases(using="default", seconds=60)
    other.beat()
    with pytest.raises(NotAdopted, match="Stop the relays first"):
        adopting.from_dump()
    other.leave()
    with connection.cursor() as sql:
        sql.execute("UPDATE outbox_shard SET previous = '1000000000:1000000000:'")
    with pytest.raises(NotAdopted, match="this was a dump"):
        adopting.from_backup()


def test_numbers_of_lost_events_are_not_given_again_and_adopting_twice_changes_nothing(topic: Topic) -> None:
    publish_one(topic)
    relay_all()
    lost = noted_on(topic)(about="a", text="lost")
    for number in (2, 3):
        send(record_of(lost, number=number, headers={"ce_source": _source()}))
    send(record_of(noted_on(topic)(about="b"), number=1, headers={"ce_source": _source()}))
    publish_one(topic)  # as 2, which Kafka knows as another
    found = adopting.from_backup()
    assert found.lost == 3
    assert adopting.from_backup().lost == 0
    publish_one(topic)
    publish_one(topic, "b")
    numbers = OutboxEvent.objects.order_by("position").values_list("key", "number")
    assert list(numbers) == [("a", 1), ("a", 4), ("a", 5), ("b", 2)]
    relay_all()


def test_all_is_sent_to_a_new_kafka_also_what_was_sent_before_a_dump_was_adopted(topic: Topic) -> None:
    first = publish_one(topic)
    relay_all()
    Origin.objects.update(server="the original/1")
    second = publish_one(topic)
    call_command("relay", "adopt", "dump")
    relay_all()
    assert _ids(topic, 2) == [first, second]
    Origin.objects.update(server="the original/1", kafka="the old one")
    with pytest.raises(CommandError, match="another one, too"):
        call_command("relay", "adopt", "kafka", "--resend")
    call_command("relay", "adopt", "dump", "--resend")
    relay_all()
    assert _ids(topic, 4) == [first, second, first, second]


def test_lost_numbers_are_found_again_in_a_topic_that_was_made_anew(topic: Topic) -> None:
    """Offsets of old traces, and of where partitions ended, say nothing of it."""
    publish_one(topic)
    relay_all()
    Publication.objects.update(offset=1_000)
    ends = {**Origin.objects.get().ends, f"{topic.name}/0": 1_000, f"{topic.name}/1": 1_000}
    Origin.objects.update(ends=ends)
    send(record_of(noted_on(topic)(about="a", text="lost"), number=2, headers={"ce_source": _source()}))
    assert "never written" in refusal(topic)
    assert adopting.from_backup().lost == 1
    publish_one(topic)
    assert list(OutboxEvent.objects.order_by("position").values_list("number", flat=True)) == [1, 3]


def test_sources_that_begin_alike_are_apart_and_so_are_databases(topic: Topic) -> None:
    publish_one(topic)
    relay_all()
    below = f"{config().source}/eu/tests".encode()
    send(record_of(noted_on(topic)(about="b"), headers={"ce_source": below}))
    relay_all()
    assert config().source_of("shop") == f"{config().source}.shop"


def _source() -> bytes:
    return f"{config().source}/tests".encode()


def _ids(topic: Topic, count: int) -> list[UUID]:
    return [UUID((dict(one.headers)["ce_id"] or b"").decode()) for one in records_in(topic, count=count)]
