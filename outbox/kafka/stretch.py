"""The records of a stretch of each partition."""

import time
from collections.abc import Iterator

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from outbox.kafka.base import BrokerError, Placement, Record, client_options, known
from outbox.kafka.reader import record_from


def records_between(
    kafka: dict[str, str], starts: dict[Placement, int], ends: dict[Placement, int], *, timeout: float = 10.0
) -> Iterator[Record]:
    """The records from each start up to but without its end, each partition's in order.

    What retention has taken is passed over. Raises BrokerError when nothing is heard for `timeout` seconds.
    """
    left = {place: end for place, end in ends.items() if starts.get(place, 0) < end}
    client = Client(
        client_options(
            kafka,
            **{
                # librdkafka asks for one; nothing is ever joined or committed.
                "group.id": "stretch",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 1_024,
            },
        )
    )
    heard = time.monotonic()
    try:
        client.assign([TopicPartition(topic, part, starts.get((topic, part), 0)) for topic, part in left])
        while left:
            message = client.poll(0.5)
            if message is None:
                if time.monotonic() - heard > timeout:
                    raise BrokerError("Kafka did not answer in time")
                continue
            place, fault = (str(message.topic()), known(message.partition())), message.error()
            if place not in left:
                if time.monotonic() - heard > timeout:
                    raise BrokerError("Kafka did not answer in time")
                continue
            heard = time.monotonic()
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
