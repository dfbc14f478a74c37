"""The relay against a real Kafka: what arrives, in which order, after which accidents."""

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from pytest_django import Settings

import outbox
from outbox import Topic, clock, publish, refusals
from outbox.config import Config, config
from outbox.context import Cause, current_cause
from outbox.errors import LeaseLost, NotRefused, RestoredDatabase, UnknownTopic
from outbox.kafka import Cluster, Record, RecordProducer
from outbox.keys import SHARDS, partition_of
from outbox.lease import Leases
from outbox.models import OutboxEvent, Publication, Refusal
from outbox.pages import Page
from outbox.relay import Relay
from outbox.relay_models import Shard
from outbox.window import Cursor
from tests.engine import NOTES, Noted, Running, new_topic, noted_on, records_in, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def relay(stop: threading.Event) -> Relay:
    return Relay(stop=stop)


def publish_all(topic: Topic, names: str) -> list[UUID]:
    """One event per letter, in one transaction each; the letter is the key."""
    event, ids = noted_on(topic), []
    for text, about in enumerate(names):
        with transaction.atomic():
            ids.append(publish(event(about=about, text=str(text))))
    return ids


def text_header(record: Record, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def first_occurrences(records: list[Record]) -> list[str]:
    """The events' ids, each where it came first."""
    return list(dict.fromkeys(text_header(record, "ce_id") for record in records))


def test_events_arrive_as_cloudevents_where_their_key_belongs() -> None:
    topic = new_topic()
    (event_id,) = publish_all(topic, "k")
    with Running(relay):
        (record,) = records_in(topic, count=1)
        until(lambda: Publication.objects.filter(event_id=event_id).exists())
    publication = Publication.objects.get(event_id=event_id)
    event = OutboxEvent.objects.get(id=event_id)
    assert record.key == b"k"
    assert record.value == b'{"about":"k","text":"0"}'
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": str(event_id).encode(),
        "ce_source": b"/eventsite/tests",
        "ce_type": b"tests.Noted.v1",
        "ce_time": event.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode(),
        "ce_subject": b"k",
        "ce_partitionkey": b"k",
        "ce_correlationid": str(event_id).encode(),
        "ce_sequence": b"0000000000000000001",
        "content-type": b"application/json",
    }
    assert record.partition == partition_of("k", 4) == publication.partition
    assert record.offset == publication.offset
    # It went between when its trace says that sending began and when that was written.
    assert publication.sent_at is not None and record.timestamp is not None  # noqa: PT018
    assert publication.sent_at - timedelta(milliseconds=2) <= record.timestamp <= publication.published_at


def test_a_key_arrives_in_order_and_every_event_once() -> None:
    topic = new_topic()
    with Running(relay):
        published = publish_all(topic, "abcabcabc" * 10)
        records = list(records_in(topic, count=90))
    assert len(records) == 90
    for about in "abc":
        numbers = [
            int(text_header(record, "ce_sequence")) for record in records if record.key == about.encode()
        ]
        assert numbers == list(range(1, 31))
    assert {text_header(record, "ce_id") for record in records} == {str(event_id) for event_id in published}


def test_a_crash_between_flush_and_cursor_repeats_but_neither_skips_nor_reorders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = new_topic()
    published = publish_all(topic, "ababab")

    class Crash(Exception):
        """The process is gone."""

    def crash(pages: Sequence[Page], leases: Leases) -> None:
        assert [page.traces(now=clock.now()).count("\n") for page in pages] == [6]
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("outbox.recorder.record", crash)
        with Running(relay, may_fail=True) as crashed:
            until(lambda: crashed.error)
    assert isinstance(crashed.error, Crash)
    assert not Publication.objects.exists()
    published += publish_all(topic, "ab")
    with Running(relay):
        records = list(records_in(topic, count=14))
    in_order = first_occurrences(records)
    assert sorted(in_order) == sorted(map(str, published))
    for about in (b"a", b"b"):
        own = [text_header(record, "ce_id") for record in records if record.key == about]
        assert [name for name in in_order if name in own] == [
            name for name in map(str, published) if name in own
        ]


def test_a_page_smaller_than_the_backlog_drains_all_of_it() -> None:
    topic = new_topic()
    publish_all(topic, "abcdefg" * 3)
    with Running(lambda stop: Relay(stop=stop, settings=_settings(relay_page=4))):
        assert len(list(records_in(topic, count=21))) == 21
        until(lambda: Publication.objects.count() == 21)


def test_a_window_that_ended_with_a_full_page_is_known_to_be_over() -> None:
    """Else what it sent would look unsent for as long as nothing else is published."""
    topic = new_topic()
    event = noted_on(topic)
    with transaction.atomic():
        for _ in range(8):
            publish(event(about="one key"))
        with connection.cursor() as sql:
            sql.execute("SELECT pg_current_xact_id()::text")
            [(xid,)] = sql.fetchall()
    with Running(lambda stop: Relay(stop=stop, settings=_settings(relay_page=4))):
        until(lambda: Publication.objects.count() == 8)
        until(lambda: _shards_past(xid) == 1)


def _shards_past(xid: str) -> int:
    with connection.cursor() as sql:
        sql.execute(
            "SELECT count(*) FROM outbox_shard WHERE pg_visible_in_snapshot(%s::xid8, previous)"
            " AND current IS NULL AND shard = (SELECT shard FROM outbox_event LIMIT 1)",
            [xid],
        )
        [(count,)] = sql.fetchall()
    return int(count)


def test_a_relay_whose_kafka_is_away_says_so_once_and_again_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.sending.SILENCE_SECONDS", 0.2)
    topic = new_topic()
    heard, poll = threading.Event(), RecordProducer.poll

    def poll_or_hear_nothing(self: RecordProducer, timeout: float) -> None:
        if heard.is_set():
            poll(self, timeout)
        else:
            threading.Event().wait(min(timeout, 0.02))

    monkeypatch.setattr(RecordProducer, "poll", poll_or_hear_nothing)
    with caplog.at_level("INFO", "outbox.sending"), Running(relay):
        for about in "abcdefgh":
            publish_all(topic, about)
        until(lambda: "does not answer" in caplog.text)
        _idle_for_a_while()
        heard.set()
        until(lambda: Publication.objects.count() == 8)
    assert caplog.text.count("does not answer") == 1
    assert caplog.text.count("answers again") == 1


def test_a_client_that_hears_nothing_for_long_is_replaced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that a broker has told that there was none."""
    monkeypatch.setattr("outbox.sending.LOST_SECONDS", 0.5)
    topic = new_topic()
    deaf, poll = list[RecordProducer](), RecordProducer.poll

    def poll_or_hear_nothing(self: RecordProducer, timeout: float) -> None:
        if not deaf:
            deaf.append(self)
        if self is deaf[0]:
            threading.Event().wait(min(timeout, 0.02))
        else:
            poll(self, timeout)

    monkeypatch.setattr(RecordProducer, "poll", poll_or_hear_nothing)
    with Running(relay):
        ids = publish_all(topic, "abcdefgh")
        until(lambda: Publication.objects.count() == len(ids))
        records = list(records_in(topic, count=len(ids)))
    assert "Kafka has not answered" in caplog.text
    assert set(first_occurrences(records)) <= set(map(str, ids))


def _settings(**changes: int | float) -> Config:
    return Config(kafka=config().kafka, topics=config().topics, **changes)  # type: ignore[arg-type]


def test_a_relay_that_lost_its_lease_moves_no_cursor() -> None:
    late = Leases(using="default", seconds=5)
    late.beat()
    [(cursor, shards)] = late.take(8).items()
    with connection.cursor() as sql:
        sql.execute("UPDATE outbox_shard SET owner = 'other', epoch = epoch + 1, previous = '9:9:'")
    with pytest.raises(LeaseLost), transaction.atomic():
        late.store(cursor, shards)
    assert set(Shard.objects.values_list("previous", flat=True)) == {"9:9:"}


def test_an_idle_relay_writes_nothing() -> None:
    topic = new_topic()
    with Running(lambda stop: Relay(stop=stop, settings=_settings(lease=600.0, relay_poll=0.01))):
        publish_all(topic, "a")
        until(lambda: Publication.objects.count() == 1)
        stored = list(Shard.objects.order_by("shard").values())
        for _ in range(5):
            with transaction.atomic(), connection.cursor() as sql:
                sql.execute("SELECT pg_current_xact_id()")  # the snapshot moves on
        _idle_for_a_while()
        assert list(Shard.objects.order_by("shard").values()) == stored


def _idle_for_a_while() -> None:
    with suppress(AssertionError):
        until(lambda: False, seconds=0.5)


def test_a_refused_record_holds_its_key_alone() -> None:
    """Kafka refuses the whole batch that holds it; the others of that batch are sent again alone."""
    topic = new_topic(partitions=1, **{"max.message.bytes": "2000"})
    event = noted_on(topic)
    with transaction.atomic():
        publish(event(about="good", text="1"))
        publish(event(about="bad", text=secrets.token_hex(5_000)))
        publish(event(about="good", text="2"))
    with Running(relay), told_by("outbox.recorder") as about:
        until(lambda: Refusal.objects.count() == 1)
        with transaction.atomic():
            publish(event(about="bad", text="waits"))
            publish(event(about="other"))
        until(lambda: Refusal.objects.count() == 2)
        until(lambda: Publication.objects.count() == 3)
    records = list(records_in(topic, count=Publication.objects.count()))
    assert list(dict.fromkeys(record.value for record in records)) == [
        b'{"about":"good","text":"1"}',
        b'{"about":"good","text":"2"}',
        b'{"about":"other","text":""}',
    ]
    refused, behind = Refusal.objects.order_by("position").values_list("key", "cause")
    assert refused[0] == behind[0] == "bad"
    assert "too large" in refused[1].lower()
    assert "waits behind" in behind[1]
    # The log names each, its key and its story in fields of their own.
    told = OutboxEvent.objects.filter(key="bad").order_by("position")
    assert about == [Cause(one.correlation_id, one.id, one.traceparent, "bad") for one in told]


@contextmanager
def told_by(name: str) -> Iterator[list[Cause]]:
    """What the entries are about that this logger is given meanwhile."""
    about: list[Cause] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            about.append(current_cause())

    handler = Listening(logging.ERROR)
    logging.getLogger(name).addHandler(handler)
    try:
        yield about
    finally:
        logging.getLogger(name).removeHandler(handler)


def test_a_refused_batch_among_many_reorders_no_other_key() -> None:
    """Later batches are in flight when Kafka refuses one: none of them may be accepted."""
    topic = new_topic(partitions=1, **{"max.message.bytes": "20000"})
    event, total = noted_on(topic), 600
    with outbox.atomic():
        for number in range(total):
            if number == 3:
                publish(event(about="bad", text=secrets.token_hex(20_000)))
            publish(event(about=f"key-{number % 7}", text=secrets.token_hex(400)))
    with Running(relay):
        until(lambda: Publication.objects.count() >= total, seconds=60)
    assert Refusal.objects.get().key == "bad"
    numbers: dict[bytes | None, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for record in records_in(topic, count=total):
        if (event_id := text_header(record, "ce_id")) not in seen:
            seen.add(event_id)
            numbers[record.key].append(int(text_header(record, "ce_sequence")))
    assert len(seen) == total
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


def test_what_is_refused_before_it_is_sent_holds_its_key_too(settings: Settings) -> None:
    topic = new_topic(partitions=1)
    settings.OUTBOX = {**settings.OUTBOX, "MAX_EVENT_BYTES": 4_000_000}
    config.cache_clear()
    event = noted_on(topic)
    with transaction.atomic():
        publish(event(about="a", text="1"))
        publish(event(about="a", text=secrets.token_hex(700_000)))
        publish(event(about="a", text="3"))
    small = Config(kafka=config().kafka, topics=config().topics, max_event_bytes=1_000)
    with Running(lambda stop: Relay(stop=stop, settings=small)):
        until(lambda: Refusal.objects.count() == 2)
    (record,) = records_in(topic, count=1)
    assert text_header(record, "ce_sequence") == "0" * 18 + "1"


def test_a_connection_lost_between_cursor_and_traces_loses_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = new_topic()
    publish_all(topic, "a")
    lost: list[None] = []

    store = Leases.store

    def store_and_lose(self: Leases, cursor: Cursor, shards: list[int]) -> None:
        store(self, cursor, shards)
        if not lost:
            lost.append(None)
            _terminate(connections["default"].connection.info.backend_pid)

    monkeypatch.setattr(Leases, "store", store_and_lose)
    with Running(relay):
        until(lambda: Publication.objects.count() == 1)
    assert lost


def _terminate(backend: int) -> None:
    def terminate() -> None:
        with connection.cursor() as sql:
            sql.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        connections.close_all()

    thread = threading.Thread(target=terminate)
    thread.start()
    thread.join()


def test_a_database_restored_from_a_dump_is_noticed_and_nothing_is_skipped() -> None:
    topic = new_topic()
    Leases(using="default", seconds=0).take(SHARDS)
    Shard.objects.update(previous="900000000:900000000:")
    publish_all(topic, "abc")
    with Running(relay, may_fail=True) as refused:
        until(lambda: refused.error)
    assert isinstance(refused.error, RestoredDatabase)
    Shard.objects.update(previous="3:3:")
    with Running(relay):
        until(lambda: Publication.objects.count() == 3)


def test_an_event_for_a_topic_that_does_not_exist_yet_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic():
        publish(Noted(about="a"))
    with Running(relay):
        until(lambda: "topics apply" in caplog.text)
        topic = new_topic()
        connection.cursor().execute(
            "INSERT INTO outbox_topic (name, partitions) VALUES (%s, 1) ON CONFLICT DO NOTHING", [NOTES.name]
        )
        assert topic.name != NOTES.name
        from outbox.kafka import BrokerError, Cluster

        with suppress(BrokerError):  # made by an earlier test
            Cluster(config().kafka).create_topic(NOTES.name, partitions=1, replication=1, config={})
        assert until(lambda: Publication.objects.count() == 1)
    assert UnknownTopic.__doc__


def test_what_was_refused_is_sent_after_all_with_what_waits_behind_it() -> None:
    topic = new_topic(partitions=1, **{"max.message.bytes": "2000"})
    event = noted_on(topic)
    with transaction.atomic():
        publish(event(about="bad", text="1"))
        guilty = publish(event(about="bad", text=secrets.token_hex(5_000)))
        publish(event(about="bad", text="3"))
    with Running(relay):
        until(lambda: Refusal.objects.count() == 2)
        refusals.resend(event_id=guilty)
        until(lambda: not Refusal.objects.filter(requested_at__isnull=False).exists())
        assert Refusal.objects.count() == 2  # the topic is as it was
        Cluster(config().kafka).set_config(topic.name, {"max.message.bytes": "100000"})
        refusals.resend(event_id=guilty)
        until(lambda: not Refusal.objects.exists())
        publish_all(topic, "x")
        with transaction.atomic():
            publish(event(about="bad", text="4"))
        until(lambda: Publication.objects.count() == 5)
    assert numbers_of(topic, b"bad", count=5) == [1, 2, 3, 4]


def test_what_is_discarded_leaves_a_placeholder_and_lets_its_key_go_on() -> None:
    topic = new_topic(partitions=1, **{"max.message.bytes": "2000"})
    event = noted_on(topic)
    with transaction.atomic():
        guilty = publish(event(about="bad", text=secrets.token_hex(5_000)))
        publish(event(about="bad", text="2"))
    with Running(relay):
        until(lambda: Refusal.objects.count() == 2)
        assert refusals.discard(event_id=guilty, reason="too large for anyone") == 2
        until(lambda: Publication.objects.count() == 2)
    placeholder, behind = records_in(topic, count=2)
    assert text_header(placeholder, "ce_id") == str(guilty)
    assert text_header(placeholder, "ce_type") == "outbox.EventDiscarded.v1"
    assert placeholder.value == b'{"type":"tests.Noted.v1","reason":"too large for anyone"}'
    assert [text_header(one, "ce_sequence") for one in (placeholder, behind)] == [
        "0" * 18 + "1",
        "0" * 18 + "2",
    ]
    assert not Refusal.objects.exists()
    with pytest.raises(NotRefused):
        refusals.resend(event_id=guilty)
    with pytest.raises(NotRefused):
        refusals.discard(event_id=guilty, reason="again")


def numbers_of(topic: Topic, key: bytes, *, count: int) -> list[int]:
    """The numbers of a key's first occurrences, as they lie in the topic."""
    seen: dict[str, int] = {}
    for record in records_in(topic, count=count):
        if record.key == key:
            seen.setdefault(text_header(record, "ce_id"), int(text_header(record, "ce_sequence")))
    return list(seen.values())
