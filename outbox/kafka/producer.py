"""Sending records."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from outbox.kafka.base import BrokerError, Headers, RecordRefused, client_options, known

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


class RecordProducer:
    """Sends records and tells where each went. Idempotent, acks=all, retried for as long as it takes.

    `message.timeout.ms=0` leaves giving up to the caller: a record that timed out alone would break the
    order of its key. After a fatal error, or after abandoning records, make a new producer.
    """

    def __init__(self, kafka: dict[str, str]) -> None:
        self._producer = Producer(
            client_options(
                kafka,
                **{
                    "enable.idempotence": True,
                    "acks": "all",
                    "message.timeout.ms": 0,
                    "compression.type": "lz4",
                    "linger.ms": 0,
                    "message.max.bytes": 1_048_576,
                },
            )
        )
        self._failure: BrokerError | None = None

    def prepare(self) -> None:
        """Connect, so that the first record need not wait for it. Says nothing when Kafka is away."""
        with suppress(KafkaException):
            self._producer.list_topics(timeout=1.0)

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
                done(None, known(message.partition()), known(message.offset()))
            elif error.code() in _REFUSALS:
                done(RecordRefused(error.str()), partition, -1)
            else:
                self._failure = BrokerError(f"{error.str()} (topic {topic}, partition {partition})")

        try:
            self._enqueue(topic, value, key=key, partition=partition, headers=[*headers], delivered=delivered)
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() not in _REFUSALS:
                raise BrokerError(cause.str()) from error
            done(RecordRefused(cause.str()), partition, -1)

    def _enqueue(self, topic: str, value: bytes, *, delivered: Callable[..., None], **options: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, on_delivery=delivered, **options)
            except BufferError:  # full: make room
                self._producer.poll(0.1)
            else:
                return

    def flush(self, timeout: float) -> int:
        """Wait until all is delivered or `timeout` seconds are over; return how many records are still out.

        Raises BrokerError when a record failed for no fault of its own: send all again from the cursor.
        """
        left = self._producer.flush(timeout)
        if self._failure is not None:
            raise self._failure
        return left

    def abandon(self) -> None:
        """Forget what has not been delivered; it may or may not have reached Kafka."""
        self._producer.purge()
        self._producer.flush(1)
