"""What the engine's tests publish and consume: an event, topics, sessions with open transactions."""

import queue
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import UUID

from django.db import connection, connections, transaction

from outbox import Event, Topic, publish
from outbox.config import config
from outbox.envelope import cloudevent_headers
from outbox.ids import new_id
from outbox.kafka import Cluster, Record, RecordProducer

NOTES = Topic("notes", partitions=4, retention=timedelta(days=1))
TOPICS = [NOTES]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

T = TypeVar("T")


class Noted(Event, frozen=True, kw_only=True):
    """An event with nothing but a key and a text."""

    type: ClassVar[str] = "tests.Noted.v1"
    topic: ClassVar[Topic] = NOTES
    about: str
    text: str = ""

    def key(self) -> str:
        return self.about


class Unheard(Noted, frozen=True, kw_only=True):
    """An event nobody handles."""

    type: ClassVar[str] = "tests.Unheard.v1"


def noted_on(topic: Topic) -> type[Noted]:
    """Noted, on another topic."""
    return type("Noted", (Noted,), {"topic": topic, "__annotations__": {}}, frozen=True, kw_only=True)


def new_topic(*, partitions: int = 4, **options: str) -> Topic:
    """A topic nobody else uses, created in Kafka and recorded in the database."""
    from outbox.models import TopicRecord

    topic = Topic(f"notes-{uuid.uuid4().hex[:12]}", partitions=partitions, retention=timedelta(days=1))
    TOPICS.append(topic)
    Cluster(config().kafka).create_topic(
        topic.name, partitions=partitions, replication=1, config={**topic.config(), **options}
    )
    TopicRecord.objects.create(name=topic.name, partitions=partitions, applied_at=NOW)
    return topic


def record_of(
    event: Event,
    *,
    number: int | None = 1,
    event_id: UUID | None = None,
    offset: int = 0,
    partition: int = 0,
    at: datetime | None = None,
    key: bytes | None = None,
    headers: dict[str, bytes | None] | None = None,
) -> Record:
    """The Kafka record that the relay would have sent for this event."""
    at = at or datetime.now(UTC)
    event_id = event_id or new_id(at)
    all_headers = dict(
        cloudevent_headers(
            id=event_id,
            source="/tests",
            type=event.type,
            occurred_at=at,
            key=event.key(),
            number=number,
            correlation_id=event_id,
            causation_id=None,
            traceparent=None,
            content_type="application/json",
        )
    )
    all_headers |= headers or {}
    return Record(
        topic=event.topic.name,
        partition=partition,
        offset=offset,
        key=event.key().encode() if key is None else key,
        value=event.to_json(),
        headers=[(name, value) for name, value in all_headers.items() if value is not None],
        timestamp=at,
    )


class Writer:
    """A session in a thread of its own, that does what it is told: a transaction can be held open.

    Leaving the block rolls back what is open and ends the thread and its connection.
    """

    def __init__(self) -> None:
        self._orders: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._open = ExitStack()

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.put(None)
        self._thread.join()

    def call(self, work: Callable[[], T], *, wait: bool = True) -> T:
        """Run in the session; the result or the error comes back. `wait=False` leaves it running."""
        done: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

        def order() -> None:
            try:
                done.put((work(), None))
            except BaseException as error:  # noqa: BLE001  (raised in the caller)
                done.put((None, error))

        self._orders.put(order)
        if not wait:
            return None  # type: ignore[return-value]
        result, error = done.get(timeout=30)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def begin(self) -> None:
        self.call(lambda: self._open.enter_context(transaction.atomic()))

    def publish(self, about: str, text: str = "") -> UUID:
        return self.call(lambda: publish(Noted(about=about, text=text)))

    def savepoint(self) -> None:
        self.call(lambda: self._open.enter_context(transaction.atomic()))

    def end(self, *, rollback: bool = False) -> None:
        """Commit or roll back the whole transaction."""

        def end() -> None:
            if rollback:
                transaction.set_rollback(True)
            self._open.close()

        self.call(end)

    def execute(self, sql: str) -> list[Any]:
        def execute() -> list[Any]:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

        return self.call(execute)

    def _run(self) -> None:
        for order in iter(self._orders.get, None):
            order()
        if connection.in_atomic_block:
            transaction.set_rollback(True)
            self._open.close()
        connections.close_all()


class Worker(Protocol):
    """A relay or a consumer's instance."""

    def run(self) -> None: ...


class Running:
    """A worker in a thread, as it would be in a process. An error fails the test, unless it may."""

    def __init__(self, worker: Callable[[threading.Event], Worker], *, may_fail: bool = False) -> None:
        self._may_fail = may_fail
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._worker = worker
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None and not self._may_fail:
            raise self.error

    def _run(self) -> None:
        try:
            self._worker(self._stop).run()
        except BaseException as error:  # noqa: BLE001  (looked at by the test)
            self.error = error
        finally:
            connections.close_all()


def until(condition: Callable[[], T], *, seconds: float = 60.0, every: float = 0.05) -> T:
    """Poll until the condition is true, and return what it gave; fail after `seconds`."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    pause = threading.Event()
    while not (result := condition()):
        if datetime.now(UTC) > end:
            raise AssertionError(f"not within {seconds} s; last answer: {result!r}")
        pause.wait(every)
    return result


def until_none_is_left(left: Callable[[], Sequence[int]], *, seconds: float = 120.0) -> None:
    """Poll until all of these counts are 0; fail once none of them has changed for so long."""
    end, before = datetime.now(UTC), None
    pause = threading.Event()
    while any(now := left()):
        if now != before:
            end, before = datetime.now(UTC) + timedelta(seconds=seconds), now
        if datetime.now(UTC) > end:
            raise AssertionError(f"as many have been left for {seconds} s: {now}")
        pause.wait(0.2)


def send(*records: Record) -> None:
    """Put records into Kafka as any program might; return when it has them."""
    producer = RecordProducer(
        config().kafka, max_bytes=1_000_000, taken=lambda *_: None, refused=lambda _: None
    )
    for record in records:
        place = (record.topic, record.partition)
        producer.send(place, record.key, record.value or b"", list(record.headers), None)
    flush(producer)


def flush(producer: RecordProducer) -> None:
    """Until Kafka has answered for every record."""

    def delivered() -> bool:
        producer.poll(0.1)
        return not len(producer)

    until(delivered)


def records_in(topic: Topic, *, count: int, seconds: float = 30.0) -> Iterator[Record]:
    """The topic's records from its beginning, until there were `count`."""
    from outbox.kafka import GroupReader

    reader = GroupReader(
        config().kafka, group=f"reader-{uuid.uuid4().hex}", topics=[topic.name], on_lost=lambda _: None
    )
    try:
        seen: list[Record] = []

        def read() -> bool:
            seen.extend(reader.poll(limit=1_000, timeout=0.2))
            return len(seen) >= count

        until(read, seconds=seconds)
        yield from seen
    finally:
        reader.close()


def all_records(topic: Topic) -> list[Record]:
    """All that is in the topic now; of each partition in order."""
    cluster = Cluster(config().kafka)
    places = [(topic.name, partition) for partition in range(cluster.partition_counts()[topic.name])]
    return list(records_in(topic, count=sum(cluster.watermarks(places).values())))


def numbers_by_key(records: Iterable[Record]) -> dict[str, list[int]]:
    """Of each key the numbers of its events, where each came first."""
    numbers: dict[str, dict[int, None]] = defaultdict(dict)
    for record in records:
        number = int(dict(record.headers)["ce_sequence"] or b"0")
        numbers[(record.key or b"").decode()][number] = None
    return {key: list(found) for key, found in numbers.items()}
