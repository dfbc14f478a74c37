"""The oldest records that partitions still have."""

import time

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outbox.kafka.base import BrokerError, Placement, Record, known
from outbox.kafka.onlooking import onlooker, record_from


def oldest_records(
    kafka: dict[str, str], starts: dict[Placement, int], *, timeout: float = 10.0
) -> dict[Placement, Record]:
    """The record at or after the given offset of each partition; those that have none are missing.

    Raises BrokerError when Kafka does not tell of all of them within `timeout` seconds.
    """
    client = onlooker(kafka, "oldest", {"enable.partition.eof": True})
    found: dict[Placement, Record] = {}
    awaited = set(starts)
    end = time.monotonic() + timeout
    try:
        client.assign([TopicPartition(topic, part, offset) for (topic, part), offset in starts.items()])
        while awaited:
            if time.monotonic() > end:
                raise BrokerError("Kafka did not answer in time")
            message = client.poll(0.5)
            if message is None:
                continue
            place = (str(message.topic()), known(message.partition()))
            fault = message.error()
            if place not in awaited or (fault is not None and fault.code() != KafkaError._PARTITION_EOF):
                continue  # a second record of a partition, or a fault that librdkafka tries to mend
            if fault is None:
                found[place] = record_from(message)
            awaited.discard(place)
    except KafkaException as error:
        raise BrokerError(error.args[0].str()) from error
    finally:
        client.close()
    return found
