"""Pages on their way to Kafka: what was sent of each, and what became of it."""

import math
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn

from outbox.errors import OutboxError
from outbox.kafka import BrokerError, Placement, RecordProducer, RecordRefused
from outbox.window import Cursor, OutboxRecord

BEHIND = "waits behind a refused event of its key"
# Kafka forgets a producer that has sent nothing to a partition for a day (producer.id.expiration.ms).
KNOWN_SECONDS = 3_600.0
# While a page is being queued Kafka is heard so often.
STRIDE = 500
Key = tuple[str, bytes]  # topic, key


class BatchRefused(OutboxError):
    """Kafka refused a batch for one of its records: they have to be sent one by one."""


@dataclass(slots=True, eq=False)
class Page:
    """Consecutive rows of some shards, and what has become of them so far.

    places   where each record goes
    after    these shards' cursor once all of it is done
    ahead    the numbers of records that were sent before the others
    left     records of which nothing is known yet
    offsets  of each record that Kafka took
    refused  records that are held, and why
    made_at  nanoseconds since 1970, when it was about to be sent
    begun    then, too, on the monotonic clock
    """

    records: list[OutboxRecord]
    places: list[Placement]
    shards: list[int]
    after: Cursor
    ahead: set[int] = field(default_factory=set)
    left: int = 0
    offsets: list[int | None] = field(default_factory=list)
    refused: list[tuple[OutboxRecord, str]] = field(default_factory=list)
    made_at: int = field(default_factory=time.time_ns)
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = len(self.records)
        self.offsets = [None] * self.left

    def refuse(self, record: OutboxRecord, cause: str) -> None:
        """Hold a record."""
        self.refused.append((record, cause))
        self.left -= 1

    def traces(self, *, now: datetime) -> str:
        """A line for COPY of each record that Kafka took: event, partition, offset, when it was sent.

        now  by the database's clock
        """
        end = f"\t{now - timedelta(seconds=time.monotonic() - self.begun)}\n"
        return "".join(
            [
                f"{record.id.decode()}\t{place[1]}\t{offset}{end}"
                for record, place, offset in zip(self.records, self.places, self.offsets, strict=True)
                if offset is not None
            ]
        )


class PageSender:
    """Sends pages, several at a time, with one producer. When it has failed it is used up.

    A key's records are sent in the order in which they are given, and Kafka has always accepted a prefix of
    them: whatever fails, all is sent again from the stored cursor by a new one. For that the first record for
    each partition goes alone, and the rest of its page when Kafka has it (see RecordProducer).
    """

    def __init__(self, kafka: dict[str, str], *, max_bytes: int, held: set[Key]) -> None:
        self._producer = RecordProducer(kafka, max_bytes=max_bytes, taken=self._taken, refused=self._refused)
        self._producer.prepare()
        self._held = held
        self._under_way: deque[Page] = deque()
        self._unsent: deque[Page] = deque()
        # When Kafka last took something for a partition.
        self._known: dict[Placement, float] = {}
        self._now = time.monotonic()
        self._waiting = False
        self._refusal: RecordRefused | None = None

    def __len__(self) -> int:
        """Pages that are not done."""
        return len(self._under_way)

    def send(self, page: Page) -> None:
        """Send a page after those before it. Raises BatchRefused, BrokerError, here or at a later call."""
        self._under_way.append(page)
        self._unsent.append(page)
        self._go_on()

    def poll(self, timeout: float) -> None:
        """Hear for up to `timeout` seconds what Kafka says, and go on. Raises BatchRefused, BrokerError."""
        self._hear(timeout)
        self._go_on()

    def done(self) -> list[Page]:
        """The pages, in order, of which all is known by now; each is given once."""
        finished = []
        while self._under_way and not self._under_way[0].left:
            finished.append(self._under_way.popleft())
        return finished

    def check(self) -> None:
        """Raises UnknownTopic when something is under way to a topic that Kafka does not have any more."""
        self._producer.prepare()
        self._producer.check({place for page in self._under_way for place in page.places})

    def hold(self, page: Page, record: OutboxRecord, cause: str) -> None:
        """Set a record aside, and its key with it."""
        page.refuse(record, cause)
        if record.key is not None:
            self._held.add((record.topic, record.key))

    def abandon(self) -> None:
        """Forget what is under way; it may or may not reach Kafka."""
        self._producer.abandon()

    def _go_on(self) -> None:
        while self._unsent and self._is_known_where_it_goes(self._unsent[0]):
            page = self._unsent.popleft()
            for number in range(len(page.records)):
                if number not in page.ahead:
                    self._send(page, number)
                if number % STRIDE == STRIDE - 1:
                    self._hear(0)

    def _is_known_where_it_goes(self, page: Page) -> bool:
        """Whether Kafka knows this producer in all partitions of a page; if not, sees to it that it will."""
        if self._waiting and len(self._producer):
            return False
        oldest = time.monotonic() - KNOWN_SECONDS
        unknown = {place for place in set(page.places) if self._known.get(place, -math.inf) < oldest}
        self._waiting = False
        if unknown:
            self._producer.check(unknown)
            for number, (record, place) in enumerate(zip(page.records, page.places, strict=True)):
                if place in unknown and number not in page.ahead and not self._is_held(record):
                    unknown.discard(place)
                    page.ahead.add(number)
                    self._send(page, number)
                    self._waiting = True
        return not self._waiting

    def _is_held(self, record: OutboxRecord) -> bool:
        return record.key is not None and (record.topic, record.key) in self._held

    def _send(self, page: Page, number: int) -> None:
        record = page.records[number]
        if self._held and self._is_held(record):
            page.refuse(record, BEHIND)
            return
        try:
            self._producer.send(
                page.places[number], record.key, record.payload, record.headers(), (page, number)
            )
        except RecordRefused as error:
            self.hold(page, record, str(error))
        except BrokerError as error:
            self._fail(error)

    def _taken(self, what: tuple[Page, int], offset: int) -> None:
        page, number = what
        page.offsets[number] = offset
        page.left -= 1
        self._known[page.places[number]] = self._now

    def _refused(self, refusal: RecordRefused) -> None:
        self._refusal = refusal

    def _hear(self, timeout: float) -> None:
        self._now = time.monotonic()
        try:
            self._producer.poll(timeout)
        except BrokerError as error:
            self._fail(error)
        if self._refusal is not None:
            raise BatchRefused(str(self._refusal))

    def _fail(self, error: BrokerError) -> NoReturn:
        """Raises BatchRefused where that is why the producer has failed."""
        self._producer.abandon()  # which hears what it has yet to tell
        if self._refusal is not None:
            raise BatchRefused(str(self._refusal)) from error
        raise error
