"""Sending records."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from outbox.errors import UnknownTopic
from outbox.kafka.base import BrokerError, Header, Placement, RecordRefused, client_options

# Room for a record's framing beside its key, headers and value.
HEADROOM = 48_576

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


def _nothing(*_: object) -> None:
    return


class RecordProducer:
    """Sends records and tells where each went. Idempotent, acks=all, retried for as long as it takes.

    Per partition, what Kafka has accepted is always a prefix of what was sent, once it has accepted anything
    of this producer there: when it refuses a batch, for one record of it, nothing sent later is accepted, and
    this producer is used up. But to a producer that is new to a partition Kafka denies nothing: there a batch
    may be accepted although the one before was refused. So a first record has to be sent alone.
    `message.timeout.ms=0` leaves giving up to the caller, for a record that timed out alone would break the
    order of its key.
    """

    def __init__(
        self,
        kafka: dict[str, str],
        *,
        max_bytes: int,
        taken: Callable[[Any, int], None],
        refused: Callable[[RecordRefused], None],
    ) -> None:
        """Both are called in poll().

        taken    with what was given with a record, and its offset
        refused  when Kafka refused a batch: which record of it is guilty it does not say
        """
        self._taken, self._refused = taken, refused
        self._producer = Producer(
            client_options(
                kafka,
                **{
                    "enable.idempotence": True,
                    "enable.gapless.guarantee": True,
                    "acks": "all",
                    "message.timeout.ms": 0,
                    "compression.type": "lz4",
                    # A batch is what is queued while Kafka answers for those before: a single event
                    # waits for none, and a backlog makes large ones.
                    "linger.ms": 0,
                    "max.in.flight.requests.per.connection": 2,
                    "message.max.bytes": max(1_048_576, max_bytes + HEADROOM),
                },
            )
        )
        self._failure: BrokerError | None = None
        # How many partitions each topic has; empty as long as Kafka has not said.
        self._partitions: dict[str, int] = {}

    def __len__(self) -> int:
        """How many records Kafka has yet to answer for."""
        return len(self._producer)

    def prepare(self) -> None:
        """Connect, so that the first record need not wait for it. Says nothing when Kafka is away."""
        with suppress(KafkaException):
            topics = self._producer.list_topics(timeout=1.0).topics
            self._partitions = {name: len(topic.partitions) for name, topic in topics.items()}

    def check(self, places: Iterable[Placement]) -> None:
        """Raises UnknownTopic when Kafka lacks one of these partitions. Says nothing when Kafka is away."""
        if self._first_missing(places):
            self.prepare()  # it may have been created since
        if missing := self._first_missing(places):
            topic, partition = missing
            count = self._partitions.get(topic, 0)
            if count:
                raise UnknownTopic(
                    f"Topic {topic!r} has {count} partitions in Kafka, and a record is for partition"
                    f" {partition}: run `manage.py topics apply --raise-partitions`."
                )
            raise UnknownTopic(f"Topic {topic!r} is not in Kafka any more: run `manage.py topics apply`.")

    def _first_missing(self, places: Iterable[Placement]) -> Placement | None:
        counts = self._partitions
        missing = (place for place in sorted(places) if place[1] >= counts.get(place[0], 0))
        return next(missing, None) if counts else None

    def send(
        self, place: Placement, key: bytes | None, value: bytes, headers: list[Header], what: object
    ) -> None:
        """Queue a record; `taken(what, offset)` is called once Kafka has it.

        Raises RecordRefused for a record that is not even queued, BrokerError when none can be.
        """
        taken = self._taken

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None and offset >= 0:
                taken(what, offset)
            else:
                self._fail(error, place)

        try:
            self._producer.produce(
                place[0],
                value,
                key=key,
                partition=place[1],
                headers=headers,  # type: ignore[arg-type]
                on_delivery=delivered,
            )
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() in _REFUSALS:
                raise RecordRefused(cause.str()) from error
            raise BrokerError(cause.str()) from error
        except BufferError as error:
            raise BrokerError("the producer's queue is full: raise queue.buffering.max.messages") from error

    def _fail(self, error: KafkaError | None, place: Placement) -> None:
        topic, partition = place
        if error is None:
            # librdkafka infers it from a later batch; but a topic made anew may have taken that one alone.
            self._failure = BrokerError(f"Kafka does not say where it has a record of topic {topic}")
        elif error.code() in _REFUSALS:
            self._refused(RecordRefused(error.str()))
        else:
            self._failure = BrokerError(f"{error.str()} (topic {topic}, partition {partition})")

    def poll(self, timeout: float) -> None:
        """Hear what Kafka says of the records that were sent; wait up to `timeout` seconds for the first.

        Raises BrokerError when a record was not delivered for no fault of its own: send all again from
        the cursor, with a new producer.
        """
        self._serve(timeout)
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Forget what has not been delivered; it may or may not have reached Kafka."""
        self._producer.purge()
        end = time.monotonic() + 1
        while len(self._producer) and (left := end - time.monotonic()) > 0:
            self._serve(left)
        # What is called back holds this in its turn: its threads would stay until a collection of garbage.
        self._taken, self._refused = _nothing, _nothing

    def _serve(self, timeout: float) -> None:
        # Not confluent's flush(): a fatal error raised in the midst of it breaks every later callback.
        try:
            self._producer.poll(timeout)
        except KafkaException as error:
            self._failure = BrokerError(error.args[0].str())
