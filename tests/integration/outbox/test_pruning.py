"""Old weeks go when nobody needs them; until then, and whatever happens meanwhile, they stay."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from outbox import Topic, publish
from outbox.errors import NotInTransaction, PruningUnderWay
from outbox.ids import new_id
from outbox.models import InboxEntry, OutboxEvent, Publication, Refusal
from outbox.partitions import LOCK_CLASS, attaching, make_partitions, spans, weeks_of
from outbox.pruning import prune_events
from outbox.registry import Consumer, handles
from outbox.relay_models import Shard
from tests.engine import Noted, Writer, new_topic, noted_on, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

OLD = next(spans(since=datetime(2026, 3, 4, tzinfo=UTC), until=datetime(2026, 3, 4, tzinfo=UTC)))
KEEP = timedelta(days=30)


@pytest.fixture(autouse=True)
def old_week() -> Iterator[None]:
    """A week of March with partitions of its own."""
    with connection.cursor() as cursor:
        for table in ("outbox_event", "outbox_publication"):
            cursor.execute(
                f"CREATE TABLE {OLD.name(table)} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            )
            cursor.execute(attaching(table, OLD))
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {OLD.name('outbox_event')}, {OLD.name('outbox_publication')}")
    make_partitions()


@pytest.fixture
def topic() -> Topic:
    return new_topic()


def published_then(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """An event of that week, under way to Kafka."""
    monkeypatch.setattr("outbox.publishing.new_id", lambda now: new_id(OLD.start + timedelta(days=2)))
    with transaction.atomic():
        event_id = publish(noted_on(topic)(about="k"))
    monkeypatch.undo()
    return event_id


def relayed() -> None:
    """All shards have passed all that is committed now."""
    Shard.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_shard (shard, previous) SELECT generate_series(0, 7), pg_current_snapshot()"
        )


def pruned(**options: object) -> dict[str, str | None]:
    return {f"{week.span.start:%m-%d}": week.kept for week in prune_events(keep=KEEP, **options)}  # type: ignore[arg-type]


def exists() -> bool:
    return OLD in weeks_of("outbox_event", using="default")


def test_an_empty_week_goes_with_its_traces() -> None:
    relayed()
    assert pruned(dry_run=True) == {"03-02": None}
    assert exists()
    assert pruned() == {"03-02": None}
    assert not exists()
    assert OLD not in weeks_of("outbox_publication", using="default")
    assert pruned() == {}


def test_it_waits_for_the_relay_then_for_refusals_then_for_every_consumer(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = published_then(topic, monkeypatch)
    assert pruned() == {"03-02": "1 events are yet to be published"}
    relayed()
    Refusal.objects.create(
        event_id=event_id, position=1, topic=topic.name, key="k", cause="", refused_at=datetime.now(UTC)
    )
    assert pruned() == {"03-02": "1 events are held, since Kafka refused them"}
    Refusal.objects.all().delete()
    name = f"slow-{topic.name}"
    consumer = Consumer(name=name, sync_delay_limit=timedelta(seconds=5))
    handles(consumer, noted_on(topic))(lambda delivery: None)
    try:
        assert pruned() == {"03-02": f"1 events are yet to be processed by {name}"}
        with pytest.raises(CommandError, match="--keep-days"):
            call_command("prune_events", "--keep-days=-1")
        out = StringIO()
        call_command("prune_events", "--dry-run", stdout=out)
        assert f"2026-03-02: kept, 1 events are yet to be processed by {name}" in out.getvalue()
        InboxEntry.objects.create(
            event_id=event_id, consumer=name, generation=1, topic=topic.name, partition=0, offset=0,
            type="t", outcome="processed", occurred_at=datetime.now(UTC), processed_at=datetime.now(UTC),
        )  # fmt: skip
        assert pruned() == {"03-02": None}
    finally:
        from outbox import registry

        del registry._consumers[name]
    assert not OutboxEvent.objects.filter(id=event_id).exists()


def test_a_consumer_that_is_gone_need_not_be_waited_for(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_then(topic, monkeypatch)
    relayed()
    name = f"gone-{topic.name}"
    handles(Consumer(name=name, sync_delay_limit=timedelta(seconds=5)), noted_on(topic))(lambda _: None)
    try:
        assert pruned() != {"03-02": None}
        assert pruned(unprocessed_by=[name]) == {"03-02": None}
    finally:
        from outbox import registry

        del registry._consumers[name]


def test_what_commits_after_the_look_is_kept(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that was open all the while: detaching waits for it, and it is found then."""
    relayed()
    with Writer() as writer:
        writer.begin()
        event_id = writer.call(lambda: _publish_then(topic))
        found: list[dict[str, str | None]] = []
        with Writer() as pruner:
            pruner.call(lambda: found.append(pruned()), wait=False)
            until(lambda: _detaching())
            writer.end()
            pruner.call(lambda: None)
    assert found == [{"03-02": "1 events are yet to be published"}]
    assert OutboxEvent.objects.filter(id=event_id).exists()


def _publish_then(topic: Topic) -> UUID:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("outbox.publishing.new_id", lambda now: new_id(OLD.start + timedelta(days=2)))
        return publish(noted_on(topic)(about="k"))


def _detaching() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)")
        return bool(cursor.fetchone()[0])


def test_who_publishes_is_not_held_up_while_it_waits_for_an_open_transaction() -> None:
    relayed()
    with Writer() as holder:
        holder.begin()
        holder.publish("held")
        with Writer() as pruner:
            pruner.call(lambda: pruned(), wait=False)
            until(_detaching)
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '100ms'")
            try:
                for number in range(20):
                    with transaction.atomic():
                        publish(Noted(about=f"k-{number}"))
            finally:
                with connection.cursor() as cursor:
                    cursor.execute("RESET lock_timeout")
            assert _detaching()
            holder.end()
            pruner.call(lambda: None)
    assert not exists()


def test_a_run_that_was_cut_off_is_finished_by_the_next(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detached, but neither looked at again nor dropped: its events are not forgotten."""
    event_id = published_then(topic, monkeypatch)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE outbox_event DETACH PARTITION {OLD.name('outbox_event')}")
    assert not OutboxEvent.objects.filter(id=event_id).exists()
    assert pruned() == {"03-02": "1 events are yet to be published"}
    assert OutboxEvent.objects.filter(id=event_id).exists()
    relayed()
    assert pruned() == {"03-02": None}


def test_a_week_waits_for_transactions_that_may_have_begun_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they commit while it is being detached a relay would not see, and pass."""
    relayed()
    with Writer() as writer:
        writer.begin()
        writer.execute("SELECT 1")
        monkeypatch.setattr("outbox.pruning.SKEW", datetime.now(UTC) - OLD.end)
        assert pruned() == {"03-02": "1 transactions are open that may have begun before its end"}
    monkeypatch.undo()
    assert pruned() == {"03-02": None}


def test_one_at_a_time() -> None:
    relayed()
    with Writer() as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK_CLASS}, 2)")
        with pytest.raises(PruningUnderWay):
            pruned()
        other.execute(f"SELECT pg_advisory_unlock({LOCK_CLASS}, 2)")
    assert pruned() == {"03-02": None}


def test_not_in_a_transaction() -> None:
    with pytest.raises(NotInTransaction), transaction.atomic():
        list(prune_events(keep=KEEP))


def test_what_is_young_stays() -> None:
    relayed()
    assert list(prune_events(keep=timedelta(days=3_650))) == []
    assert exists()
    assert Shard.objects.count() == 8
    assert not Publication.objects.exists()
