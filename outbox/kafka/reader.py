"""Reading as a member of a consumer group."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outbox.kafka.base import BrokerError, Placement, Record, Stretch, client_options, known
from outbox.kafka.cluster import Cluster
from outbox.kafka.onlooking import let_go, record_from

# Milliseconds without a sign of life after which Kafka gives the partitions to others.
SESSION = 6_000
# A member that reads nothing for so long, in seconds, asks whether it is a member at all,
ASK_AFTER = 20.0
# ... and asks again before it believes that it is not: while brokers start, they leave out some.
ASK_AGAIN = 5.0

logger = logging.getLogger(__name__)


def member_name() -> str:
    """What the members of this process are called, in Kafka and in the database: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


class GroupReader:
    """A member of a consumer group. Offsets are committed only when told; partitions move cooperatively.

    It becomes a member again whatever becomes of Kafka. A broker that wakes up tells for a moment that there
    is none; a client of librdkafka that has heard that may have nobody left to ask, and stay lost. It is
    replaced once Kafka says that it is no member.

    poll_within  seconds from one poll() to the next after which Kafka gives the partitions to others
    mark_ends    notice where partitions end, for take_ends()
    """

    def __init__(
        self,
        kafka: dict[str, str],
        *,
        group: str,
        topics: list[str],
        on_lost: Callable[[set[Placement]], None],
        on_gained: Callable[[set[Placement]], None] = lambda _: None,
        poll_within: float = 300.0,
        mark_ends: bool = False,
    ) -> None:
        self._on_lost, self._on_gained = on_lost, on_gained
        self._ends: dict[Placement, int] = {}
        self._next: dict[Placement, int] = {}
        self._lost_unread: list[Stretch] = []
        self._gone: set[Placement] = set()
        self._held = False
        self._kafka, self._group, self._topics = kafka, group, topics
        self._options: dict[str, Any] = {
            "group.id": group,
            "client.id": member_name(),
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": SESSION,
            "max.poll.interval.ms": max(round(poll_within * 1_000), SESSION),
            "heartbeat.interval.ms": 2_000,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 50,
            "topic.metadata.refresh.interval.ms": 30_000,
            # Of each partition, fetched ahead: bounds memory under a huge lag.
            "queued.max.messages.kbytes": 16_384,
            "enable.partition.eof": mark_ends,
            "on_commit": _committed,
        }
        self._ask_at = time.monotonic() + ASK_AFTER
        self._missed = 0
        self._client = self._joined()

    def _joined(self) -> Client:
        client = Client(client_options(self._kafka, **self._options))
        client.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)
        return client

    def poll(self, *, limit: int, timeout: float) -> list[Record]:
        """Up to `limit` records; rebalances happen in here. Raises BrokerError when nothing can be read."""
        self._renew_if_lost()
        try:
            # consume() waits for the last of `limit` records; poll() returns with the first.
            first = self._client.poll(timeout)
            self._gone.clear()
            messages = [] if first is None else self._client.consume(limit - 1, 0)
            if first is not None and (str(first.topic()), first.partition()) not in self._gone:
                messages.insert(
                    0, first
                )  # else its partition was lost in consume(), which leaves out its own
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        records = []
        for message in messages:
            fault = message.error()
            if fault is None:
                records.append(record_from(message))
            elif fault.code() == KafkaError._PARTITION_EOF:
                self._ends[str(message.topic()), known(message.partition())] = known(message.offset())
            else:
                # A fault is of the connection or a partition, never of a record; librdkafka tries again.
                logger.warning("kafka: %s", fault.str())
        self._look_for_losses(records)
        return records

    def _renew_if_lost(self) -> None:
        """Begin again with a new client, if this one reads nothing and is no member of its group."""
        now = time.monotonic()
        if self._client.assignment():
            self._ask_at, self._missed = now + ASK_AFTER, 0
        if now < self._ask_at:
            return
        self._missed = self._missed + 1 if self._is_missing() else 0
        self._ask_at = now + (ASK_AGAIN if self._missed == 1 else ASK_AFTER)
        if self._missed < 2:
            return
        self._missed = 0
        logger.warning(
            "kafka: %s is no member of group %s any more, and joins it anew", member_name(), self._group
        )
        let_go(self._client)
        self._client = self._joined()

    def _is_missing(self) -> bool:
        """Whether Kafka leaves this member out; not when it does not answer."""
        try:
            ids = Cluster(self._kafka, timeout=3.0).member_ids(self._group)
        except BrokerError:
            return False
        return self._client.memberid() not in ids

    def _look_for_losses(self, records: list[Record]) -> None:
        """Offsets that were passed over: of records that were deleted, or of marks and compaction.

        Kafka is asked at most once for each partition: a transactional producer leaves a mark after every
        few records.
        """
        starts: dict[Placement, int] = {}
        for record in records:
            place = (record.topic, record.partition)
            expected, self._next[place] = self._next.get(place), record.offset + 1
            if expected is None or record.offset <= expected:
                continue
            if place not in starts:
                starts[place] = self._start_of(place)
            last = min(starts[place], record.offset) - 1
            if last >= expected:
                self._lost_unread.append(Stretch(*place, expected, last))

    def _start_of(self, place: Placement) -> int:
        """The offset of the first record that Kafka still has; 0 when it does not say.

        The one that librdkafka keeps is renewed with its statistics alone, not by fetches.
        """
        try:
            start, _ = self._client.get_watermark_offsets(TopicPartition(*place), timeout=5)
        except KafkaException as error:
            logger.warning("kafka: cannot tell what was skipped: %s", error.args[0].str())
            return 0
        return int(start)

    def take_losses(self) -> list[Stretch]:
        """What Kafka had deleted before it was polled, since the last call."""
        losses, self._lost_unread = self._lost_unread, []
        return losses

    def take_ends(self) -> dict[Placement, int]:
        """The offsets at which partitions ended since the last call, after the records polled by now.

        Beyond its last record a partition may hold marks of transactions, which are never polled.
        """
        ends, self._ends = self._ends, {}
        return ends

    def commit(self, offsets: dict[Placement, int]) -> None:
        """Record how far each partition has been processed; `offset` is the next one to read.

        Not waited for: what is lost is delivered again, and the inbox drops it.
        """
        parts = [TopicPartition(topic, part, offset) for (topic, part), offset in offsets.items()]
        try:
            self._client.commit(offsets=parts, asynchronous=True)
        except KafkaException as error:
            logger.warning("kafka: offsets not committed: %s", error.args[0].str())

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

    def known_ends(self) -> dict[Placement, int | None]:
        """The partitions that this member reads, and where each ends as of its last fetch.

        None while that is not known, or may be old because nothing is fetched. Asks nobody.
        """
        ends: dict[Placement, int | None] = {}
        for part in self._client.assignment():
            # Kept by librdkafka from each answer to a fetch; negative before the first.
            end = self._client.get_watermark_offsets(part, cached=True)[1]
            ends[part.topic, part.partition] = None if self._held or end < 0 else end
        return ends

    def committed(self, places: Iterable[Placement], *, timeout: float) -> dict[Placement, int]:
        """From where the group reads these partitions on; 0 where it has yet to begin.

        Raises BrokerError when Kafka does not say within `timeout` seconds.
        """
        try:
            parts = self._client.committed([TopicPartition(*place) for place in places], timeout=timeout)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        return {(part.topic, part.partition): max(part.offset, 0) for part in parts if part.error is None}

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._client.close()

    def _assigned(self, client: Client, partitions: list[TopicPartition]) -> None:
        try:
            committed = client.committed(partitions, timeout=5)
        except KafkaException as error:
            logger.warning("kafka: cannot tell where reading begins: %s", error.args[0].str())
            committed = []
        self._next |= {(part.topic, part.partition): part.offset for part in committed if part.offset >= 0}
        client.incremental_assign(partitions)
        # One that was lost while held has stayed paused: librdkafka remembers it, whoever read it meanwhile.
        (client.pause if self._held else client.resume)(partitions)
        self._on_gained({(part.topic, part.partition) for part in partitions})

    def _lost(self, client: Client, partitions: list[TopicPartition]) -> None:
        lost = {(part.topic, part.partition) for part in partitions}
        self._gone |= lost
        for place in lost:
            # What was polled before the mark goes unprocessed with the partition.
            self._ends.pop(place, None)
            self._next.pop(place, None)
        self._on_lost(lost)
        client.incremental_unassign(partitions)


def _committed(error: KafkaError | None, parts: list[TopicPartition]) -> None:
    if error is not None:
        logger.warning("kafka: offsets not committed: %s", error.str())
