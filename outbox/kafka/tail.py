"""Watching topics from their end, as a member of no group."""

import logging
from collections.abc import Sequence

from confluent_kafka import KafkaException, TopicPartition

from outbox.kafka.base import BrokerError, Record
from outbox.kafka.reader import onlooker, record_from

logger = logging.getLogger(__name__)

METADATA_SECONDS = 5.0


class TailReader:
    """Reads every partition of some topics, beginning `last` records before their ends.

    For those who show what passes, and need neither all of it nor to know where they were: it commits
    nothing and has no group, so that any number of processes can each see every record. Records may come
    twice, and those written before the first poll may be missed. Used by one thread at a time:

        reader = TailReader(config().kafka, topics=["payment-volumes"], last=100)
        for record in reader.poll(limit=100, timeout=1.0): ...
    """

    def __init__(self, kafka: dict[str, str], *, topics: Sequence[str], last: int = 0) -> None:
        self._topics = list(topics)
        self._last = last
        self._started = False
        options = {"fetch.error.backoff.ms": 50, "queued.max.messages.kbytes": 1_024}
        self._client = onlooker(kafka, "tail", options)

    def poll(self, *, limit: int, timeout: float) -> list[Record]:
        """Up to `limit` records, after at most `timeout` seconds.

        The first call finds where to begin, which may take METADATA_SECONDS more. Raises BrokerError when it
        cannot, and may be called again. Later a broker that is away brings nothing until it is back.
        """
        try:
            if not self._started:
                self._client.assign(self._ends())
                self._started = True
            messages = self._client.consume(limit, timeout)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        records = []
        for message in messages:
            fault = message.error()
            if fault is None:
                records.append(record_from(message))
            else:
                logger.warning("kafka: %s", fault.str())
        return records

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _ends(self) -> list[TopicPartition]:
        """Where to begin in each partition."""
        found = []
        for topic in self._topics:
            metadata = self._client.list_topics(topic, timeout=METADATA_SECONDS).topics[topic]
            if metadata.error is not None:
                raise BrokerError(metadata.error.str())
            for number in metadata.partitions:
                partition = TopicPartition(topic, number)
                low, high = self._client.get_watermark_offsets(partition, timeout=METADATA_SECONDS)
                found.append(TopicPartition(topic, number, max(low, high - self._last)))
        return found
