"""Watching topics from their end, as a member of no group."""

import logging
import time
from collections.abc import Sequence

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaException, TopicPartition

from outbox.kafka.base import BrokerError, Placement, Record
from outbox.kafka.onlooking import let_go, onlooker, record_from

logger = logging.getLogger(__name__)

METADATA_SECONDS = 5.0
# Seconds of silence after which the client is asked whether it still has somebody to listen to.
ASK_AFTER = 20.0
# ... and seconds that it has for an answer. A poll then takes so much longer.
ANSWER_SECONDS = 1.0


class TailReader:
    """Reads every partition of some topics, beginning `last` records before their ends.

    For those who show what passes, and need neither all of it nor to know where they were: it commits
    nothing and has no group, so that any number of processes can each see every record. Records may come
    twice, and those written before the first poll may be missed. Used by one thread at a time:

        reader = TailReader(config().kafka, topics=["payment-volumes"], last=100)
        for record in reader.poll(limit=100, timeout=1.0): ...
    """

    def __init__(self, kafka: dict[str, str], *, topics: Sequence[str], last: int = 0) -> None:
        self._kafka, self._topics, self._last = kafka, list(topics), last
        self._next: dict[Placement, int] = {}
        self._ask_at = self._renew_at = 0.0
        self._client = self._new_client()

    def _new_client(self) -> Client:
        return onlooker(
            self._kafka, "tail", {"fetch.error.backoff.ms": 50, "queued.max.messages.kbytes": 1_024}
        )

    def poll(self, *, limit: int, timeout: float) -> list[Record]:
        """Up to `limit` records, after about `timeout` seconds at most.

        The first call finds where to begin, which may take METADATA_SECONDS more. Raises BrokerError when it
        cannot, or when no broker has answered for ASK_AFTER seconds; it may be called again, and goes on
        where it was.
        """
        try:
            if self._next:
                self._ask_if_silent()
            else:
                self._next = self._ends()
                self._assign()
                self._ask_at = self._renew_at
            messages = self._client.consume(limit, timeout)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        records = []
        for message in messages:
            fault = message.error()
            if fault is None:
                record = record_from(message)
                self._next[record.topic, record.partition] = record.offset + 1
                records.append(record)
            else:
                logger.warning("kafka: %s", fault.str())
        if records:
            self._ask_at = time.monotonic() + ASK_AFTER
        return records

    def _assign(self) -> None:
        self._client.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])
        self._renew_at = time.monotonic() + ASK_AFTER

    def _ask_if_silent(self) -> None:
        """A topic may be quiet, or its broker away; or the client has lost all brokers, and stays lost.

        One that gives no answer is replaced, once in ASK_AFTER seconds.
        """
        if time.monotonic() < self._ask_at:
            return
        try:
            self._client.list_topics(self._topics[0], timeout=ANSWER_SECONDS)
        except KafkaException:
            if time.monotonic() >= self._renew_at:
                let_go(self._client)
                self._client = self._new_client()
                self._assign()
            raise
        self._ask_at = time.monotonic() + ASK_AFTER

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _ends(self) -> dict[Placement, int]:
        """Where to begin in each partition."""
        found = {}
        for topic in self._topics:
            metadata = self._client.list_topics(topic, timeout=METADATA_SECONDS).topics[topic]
            if metadata.error is not None:
                raise BrokerError(metadata.error.str())
            for number in metadata.partitions:
                partition = TopicPartition(topic, number)
                low, high = self._client.get_watermark_offsets(partition, timeout=METADATA_SECONDS)
                found[topic, number] = max(low, high - self._last)
        return found
