"""The only module that speaks to Kafka, through confluent-kafka (librdkafka).

Everything above sees records, offsets and the errors below; nothing connects before a method is called.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import (
    Consumer as Client,
)
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from outbox.errors import OutboxError

Headers = Sequence[tuple[str, bytes | None]]
Placement = tuple[str, int]  # topic, partition

logger = logging.getLogger(__name__)

# What a broker says of one record that it will never take; all else is worth another try.
_REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
    KafkaError.RECORD_LIST_TOO_LARGE,
}


class BrokerError(OutboxError):
    """Kafka is away or not ready; the same call may succeed later."""


class RecordRefused(OutboxError):
    """Kafka will never accept this record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record as it was read; `timestamp` is None when the broker gave none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it: its partition count, replication factor and settings."""

    partitions: int
    replication: int
    config: dict[str, str]


def _logged(options: dict[str, Any]) -> dict[str, Any]:
    # librdkafka writes to stderr unless it is given a logger; a broker that is away is said once per backoff.
    return {"logger": logging.getLogger("outbox.librdkafka"), **options}


class RecordProducer:
    """Sends records and tells where each went. Idempotent, acks=all, retried for as long as it takes.

    `message.timeout.ms=0` leaves giving up to the caller: a record that timed out alone would break the
    order of its key. After a fatal error, or after abandoning records, make a new producer.
    """

    def __init__(self, kafka: dict[str, str]) -> None:
        self._producer = Producer(
            _logged(
                {
                    **kafka,
                    "enable.idempotence": True,
                    "acks": "all",
                    "message.timeout.ms": 0,
                    "compression.type": "lz4",
                    "linger.ms": 0,
                    "message.max.bytes": 1_048_576,
                    "reconnect.backoff.max.ms": 1_000,
                }
            )
        )
        self.failure: BrokerError | None = None

    def send(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes,
        headers: Headers,
        done: Callable[[RecordRefused | None, int, int], None],
    ) -> None:
        """Queue a record; `done(refusal, partition, offset)` is called in a later flush."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                done(None, _int(message.partition()), _int(message.offset()))
            elif error.code() in _REFUSALS:
                done(RecordRefused(error.str()), partition, -1)
            else:
                self.failure = BrokerError(f"{error.str()} (topic {topic}, partition {partition})")

        try:
            self._producer.produce(
                topic, value, key=key, partition=partition, headers=list(headers), on_delivery=delivered
            )
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() not in _REFUSALS:
                raise BrokerError(cause.str()) from error
            done(RecordRefused(cause.str()), partition, -1)

    def flush(self, timeout: float) -> int:
        """Wait until all is delivered or `timeout` seconds are over; return how many records are still out.

        Raises BrokerError when a record failed for another reason than itself: send all again from the cursor.
        """
        left = self._producer.flush(timeout)
        if self.failure is not None:
            raise self.failure
        return left

    def abandon(self) -> None:
        """Forget what has not been delivered; it may or may not have reached Kafka."""
        self._producer.purge()
        self._producer.flush(1)


def _int(value: int | None) -> int:
    return -1 if value is None else value


class GroupReader:
    """A member of a consumer group. Offsets are committed only when told; partitions move cooperatively."""

    def __init__(
        self,
        kafka: dict[str, str],
        *,
        group: str,
        topics: list[str],
        on_lost: Callable[[set[Placement]], None],
    ) -> None:
        self._on_lost = on_lost
        self._held = False
        self._client = Client(
            _logged(
                {
                    **kafka,
                    "group.id": group,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "session.timeout.ms": 6_000,
                    "heartbeat.interval.ms": 2_000,
                    "fetch.wait.max.ms": 100,
                    "fetch.error.backoff.ms": 50,
                    "topic.metadata.refresh.interval.ms": 30_000,
                    "reconnect.backoff.max.ms": 1_000,
                }
            )
        )
        self._client.subscribe(topics, on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)

    def poll(self, *, limit: int, timeout: float) -> list[Record]:
        """Up to `limit` records; rebalances happen in here. Raises BrokerError when nothing can be read."""
        try:
            messages = self._client.consume(limit, timeout)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        records = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(_record(message))
            else:
                # An error is about the connection or a partition, never a record; librdkafka goes on by itself.
                logger.warning("kafka: %s", error.str())
        return records

    def commit(self, offsets: dict[Placement, int]) -> None:
        """Record how far each partition has been processed; `offset` is the next one to read.

        Not waited for: what is lost is delivered again, and the inbox drops it.
        """
        self._client.commit(
            offsets=[
                TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()
            ],
            asynchronous=True,
        )

    def hold(self) -> None:
        """Stop fetching, stay a member: poll() goes on but brings nothing."""
        self._held = True
        self._client.pause(self._client.assignment())

    def release(self) -> None:
        """Fetch again."""
        self._held = False
        self._client.resume(self._client.assignment())

    def assignment(self) -> set[Placement]:
        """The partitions that this member reads."""
        return {(part.topic, part.partition) for part in self._client.assignment()}

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._client.close()

    def _assigned(self, client: Client, partitions: list[TopicPartition]) -> None:
        client.incremental_assign(partitions)
        if self._held:
            client.pause(partitions)

    def _lost(self, client: Client, partitions: list[TopicPartition]) -> None:
        self._on_lost({(part.topic, part.partition) for part in partitions})
        client.incremental_unassign(partitions)


def _record(message: Message) -> Record:
    kind, milliseconds = message.timestamp()
    return Record(
        topic=str(message.topic()),
        partition=_int(message.partition()),
        offset=_int(message.offset()),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=[(name, _bytes(value)) for name, value in message.headers() or []],
        timestamp=None
        if kind == 0
        else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds),
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


class Cluster:
    """What operators ask of Kafka: topics, their settings, how far they reach and how far groups have come.

    Every method raises BrokerError when the cluster does not answer within `timeout` seconds.
    """

    def __init__(self, kafka: dict[str, str], *, timeout: float = 10.0) -> None:
        self._timeout = timeout
        self._admin = AdminClient(_logged({**kafka, "reconnect.backoff.max.ms": 1_000}))

    def partition_counts(self) -> dict[str, int]:
        """Every topic's number of partitions; internal topics are left out."""
        try:
            topics = self._admin.list_topics(timeout=self._timeout).topics
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        return {name: len(topic.partitions) for name, topic in topics.items() if not name.startswith("__")}

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Those of the named topics that exist."""
        try:
            present = self._admin.list_topics(timeout=self._timeout).topics
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        wanted = [name for name in names if name in present]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
        futures = self._admin.describe_configs(resources, request_timeout=self._timeout) if resources else {}
        configs = {
            resource.name: {entry.name: entry.value for entry in self._result(future).values()}
            for resource, future in futures.items()
        }
        return {
            name: TopicState(
                partitions=len(present[name].partitions),
                replication=min(
                    (len(part.replicas) for part in present[name].partitions.values()), default=0
                ),
                config=configs[name],
            )
            for name in wanted
        }

    def create_topic(
        self, name: str, *, partitions: int, replication: int | None, config: dict[str, str]
    ) -> None:
        """Create a topic; None for replication takes the cluster's default."""
        topic = NewTopic(name, partitions, -1 if replication is None else replication, config=config)
        self._result(self._admin.create_topics([topic], request_timeout=self._timeout)[name])

    def add_partitions(self, name: str, *, total: int) -> None:
        """Raise a topic's partition count to `total`."""
        self._result(
            self._admin.create_partitions([NewPartitions(name, total)], request_timeout=self._timeout)[name]
        )

    def set_config(self, name: str, config: dict[str, str]) -> None:
        """Set these settings of a topic; others stay as they are."""
        from confluent_kafka.admin import AlterConfigOpType, ConfigEntry

        entries = [
            ConfigEntry(option, value, incremental_operation=AlterConfigOpType.SET)
            for option, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        self._result(
            self._admin.incremental_alter_configs([resource], request_timeout=self._timeout)[resource]
        )

    def watermarks(self, placements: Iterable[Placement]) -> dict[Placement, int]:
        """The offset after the last record of each partition."""
        wanted = {TopicPartition(topic, partition): OffsetSpec.latest() for topic, partition in placements}
        if not wanted:
            return {}
        futures = self._admin.list_offsets(wanted, request_timeout=self._timeout)
        return {(part.topic, part.partition): self._result(future).offset for part, future in futures.items()}

    def committed(self, group: str) -> dict[Placement, int]:
        """The next offset each partition of the group will be read from; partitions never committed are missing."""
        request = [ConsumerGroupTopicPartitions(group)]
        future = self._admin.list_consumer_group_offsets(request, request_timeout=self._timeout)[group]
        parts = self._result(future).topic_partitions
        return {(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}

    def _result(self, future: Any) -> Any:
        try:
            return future.result(timeout=self._timeout + 1)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        except TimeoutError as error:
            raise BrokerError("Kafka did not answer in time") from error
