"""The records of a stretch of each partition."""

import time
from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outbox.kafka.base import BrokerError, Placement, Record, known
from outbox.kafka.onlooking import onlooker, record_from


def records_between(
    kafka: dict[str, str], starts: dict[Placement, int], ends: dict[Placement, int], *, timeout: float = 10.0
) -> Iterator[Record]:
    """The records from each start up to but without its end, each partition's in order.

    What retention has taken is passed over. Raises BrokerError when nothing is heard for `timeout` seconds.
    """
    left = {place: end for place, end in ends.items() if starts.get(place, 0) < end}
    options = {"enable.partition.eof": True, "queued.max.messages.kbytes": 1_024}
    client = onlooker(kafka, "stretch", options)
    heard = time.monotonic()
    try:
        client.assign([TopicPartition(topic, part, starts.get((topic, part), 0)) for topic, part in left])
        while left:
            message = client.poll(0.5)
            place = None if message is None else (str(message.topic()), known(message.partition()))
            if message is None or place not in left:
                if time.monotonic() - heard > timeout:
                    raise BrokerError("Kafka did not answer in time")
                continue
            heard, fault = time.monotonic(), message.error()
            if fault is None:
                record = record_from(message)
                if record.offset < left[place]:
                    yield record
                if record.offset + 1 >= left[place]:
                    del left[place]
            elif fault.code() == KafkaError._PARTITION_EOF:
                del left[place]
            else:
                raise BrokerError(fault.str())
    except KafkaException as error:
        raise BrokerError(error.args[0].str()) from error
    finally:
        client.close()
