"""One consumer's records: read, run in a single transaction, and judged where they are known to fail."""

import math
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from outbox import clock
from outbox.batch import Batch
from outbox.buffer import atomic
from outbox.calling import Watch
from outbox.context import building, consuming
from outbox.generations import Held, hold, live_generation
from outbox.item import Item, read_item, stored_record
from outbox.kafka import Placement, Record
from outbox.policies import Discard, Park, Verdict
from outbox.registry import Consumer
from outbox.sessions import enter_batch
from outbox.turns import first_due
from outbox.watchdog import idle_limit


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run came to.

    done    how many of its records have been moved past, from the first on
    new     whether any of them was new to the inbox
    is_due  whether events that waited can go on, for which there was no time left
    worked  the types of events that were processed
    oldest  when the first of these events happened; None when none was processed
    """

    done: int
    new: bool
    is_due: bool
    worked: Set[str]
    oldest: datetime | None


class Processor:
    """Runs the records of one consumer, each event's effect once, in order per key.

    building  the generation to build; None works on the one that is live, asked in each transaction
    watch     the block in which a handler is called
    stopping  whether no further event is to be begun
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        building: int | None = None,
        watch: Watch = nullcontext,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.consumer = consumer
        self._building = building
        self._watch = watch
        self._stopping = stopping
        self._idle_limit = idle_limit(consumer)
        self._condemned: dict[UUID, Verdict] = {}
        self._suspect: UUID | None = None
        self._in_handler = False
        self.guilty_type = ""  # of that event, if its handler has failed

    @property
    def guilty(self) -> UUID | None:
        """The event that the last run, of a single record, failed at."""
        return self._suspect

    @property
    def may_condemn(self) -> bool:
        """Whether that event may be condemned.

        Not when others are, and no handler has failed: then a verdict could not be written down.
        """
        return self._in_handler or not self._condemned

    def run(self, records: Iterable[Record], *, until: float = math.inf) -> Ran:
        """Move past these records, in one transaction: all of it, or nothing.

        An event known to the inbox has no effect; of a parked key, it is put to wait; without a handler,
        it is passed; unreadable or condemned, it becomes a dead letter and parks its key, or is discarded
        where the consumer declares so. Any other failure is raised, and the records can be run again.

        until  by the monotonic clock, when no further event is begun: the first always is, others are left
        """
        now, records = clock.now(using=self.consumer.using), list(records)
        items: dict[UUID, Item] = {}
        for record in records:
            item = self.read(record, now=now)
            items.setdefault(item.inbox_id, item)
        with self._batch(next(iter(items), None), until=until) as (batch, held):
            left = batch.run([*items.values()], held)
        done = next((place for place, record in enumerate(records) if record is left), len(records))
        return Ran(done, batch.has_new, batch.is_due, batch.worked, batch.oldest)

    def go_on(self, record: Record, *, until: float = math.inf) -> Ran:
        """Run an event that waited and can go on, and what waits behind it, as run() does."""
        item = self.read(record)
        with self._batch(item.inbox_id, until=until) as (batch, held):
            batch.go_on(item, held)
        return Ran(0, batch.has_new, batch.is_due, batch.worked, batch.oldest)

    def first_due(self, places: Set[Placement]) -> Record | None:
        """The first event of these partitions that waited behind a gap which has closed, if there is one."""
        generation = self._building
        if generation is None:
            generation = live_generation(self.consumer.name, using=self.consumer.using)
        stored = first_due(self.consumer, generation=generation, places=places)
        return None if stored is None else stored_record(stored)

    @contextmanager
    def _batch(self, suspect: UUID | None, *, until: float) -> Iterator[tuple[Batch, Held]]:
        """One transaction. What fails in it is the suspect's doing, unless the batch says whose."""
        self._suspect, self._in_handler = suspect, False
        batch = Batch(self.consumer, self._condemned, self._watch, until=until, stopping=self._stopping)
        try:
            with consuming(self.consumer.name), atomic(using=self.consumer.using), self._publishing():
                enter_batch(limit=self._idle_limit, using=self.consumer.using)
                yield batch, hold(self.consumer, building=self._building)
        except BaseException:
            # Of the events that waited behind a gap, one that this record released may be the guilty one.
            self._suspect, self._in_handler = batch.handling or suspect, batch.handling is not None
            self.guilty_type = batch.handling_type
            raise
        self.pardon()
        if self._building is None:
            batch.count()

    def _publishing(self) -> AbstractContextManager[None]:
        return nullcontext() if self._building is None else building()

    def read(self, record: Record, *, now: datetime | None = None) -> Item:
        """A record as this consumer understands it."""
        return read_item(record, consumer=self.consumer, now=now or clock.now(using=self.consumer.using))

    def condemn(
        self,
        error: Exception,
        *,
        attempts: int,
        end: Park | Discard | None = None,
        record: Record | None = None,
    ) -> None:
        """Have a record's event dead-lettered or discarded in the next run.

        Without a record it is the event that the last run, of a single record, failed at.
        """
        event = self._suspect if record is None else self.read(record).inbox_id
        if event is not None:
            self._condemned[event] = Verdict(error, attempts, end or Park())

    def pardon(self) -> None:
        """Condemn nothing any more: it is done, or the records went to an instance that judges for itself."""
        self._condemned.clear()
