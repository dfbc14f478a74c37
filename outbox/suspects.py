"""Events that kill their process: found out, and set aside, without a cost for those that do not.

An instance writes a row for each partition when it gets it, and removes it when it lets go in order. Whoever
finds a row of another instance knows that this one died, or froze, with a batch in hand: what comes next in
the partition is suspect. It is run one event at a time, each marked in the row before it is begun. The next
death thus has one event to blame; at the third of its deaths it is dead-lettered.
"""

import logging
import os
import secrets
import socket
from types import TracebackType

from django.db import DatabaseError, connections, transaction

from outbox.errors import ProcessDied
from outbox.kafka import Placement, Record

DEATHS = 3

logger = logging.getLogger(__name__)


def died_with_it(deaths: int) -> ProcessDied:
    """The verdict on an event that has killed so many processes."""
    return ProcessDied(
        f"{deaths} processes died with this event in hand: killed, out of memory, ended by the handler, or"
        " crashed in native code. The system's log tells which."
    )


class Suspects:
    """What one instance must be careful with. Leaving the block lets go of its partitions in order.

    group  the Kafka group
    width  how many events of a partition a batch may have in hand
    """

    def __init__(self, group: str, *, width: int, using: str) -> None:
        self._group = group
        self._width = width
        self._using = using
        self._instance = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._gained: set[Placement] = set()
        self._held: set[Placement] = set()
        self._left: dict[Placement, int] = {}
        # Of each partition the offset of the last suspect, and its deaths if it kills at this attempt.
        self._marked: dict[Placement, tuple[int, int]] = {}
        self._begun: Placement | None = None

    def __enter__(self) -> "Suspects":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            self.release(set(self._held))
        # A handler that ends the process (SystemExit) is as deadly as one that is killed.
        self._held.clear()

    def gain(self, places: set[Placement]) -> None:
        """These partitions are this instance's from now on; `take` looks at what others left in them."""
        self._gained |= places

    def take(self) -> None:
        """Write down what was gained, and what is suspect in it. Raises the database's errors."""
        if not self._gained:
            return
        places = sorted(self._gained)
        topics, numbers = [topic for topic, _ in places], [number for _, number in places]
        with transaction.atomic(using=self._using), connections[self._using].cursor() as sql:
            sql.execute(
                "SELECT topic, partition, in_hand, deaths FROM outbox_partition_owner"
                " WHERE consumer_group = %s AND instance <> %s"
                " AND (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::integer[]))"
                " ORDER BY topic, partition FOR UPDATE",
                [self._group, self._instance, topics, numbers],
            )
            left = {(topic, part): (in_hand, deaths) for topic, part, in_hand, deaths in sql.fetchall()}
            sql.execute(
                "INSERT INTO outbox_partition_owner AS mine (consumer_group, topic, partition, instance)"
                " SELECT %s, topic, part, %s FROM unnest(%s::text[], %s::integer[]) AS came (topic, part)"
                " ORDER BY topic, part ON CONFLICT (consumer_group, topic, partition) DO UPDATE"
                " SET instance = EXCLUDED.instance, taken_at = clock_timestamp()",
                [self._group, self._instance, topics, numbers],
            )
        for place, (in_hand, deaths) in left.items():
            self._left[place] = self._width
            if in_hand is not None:
                self._marked[place] = (in_hand, deaths)
            logger.warning(
                "%s: %s/%s was not let go of in order; what it has next is run one by one",
                self._group,
                *place,
            )
        self._held |= self._gained
        self._gained = set()

    def release(self, places: set[Placement]) -> None:
        """Let go in order. Where that cannot be written, the next owner is careful without need."""
        self._gained -= places
        mine = sorted(places & self._held)
        self._held -= places
        for place in places:
            self._left.pop(place, None)
            self._marked.pop(place, None)
        if not mine:
            return
        try:
            with connections[self._using].cursor() as sql:
                sql.execute(
                    "DELETE FROM outbox_partition_owner WHERE consumer_group = %s AND instance = %s"
                    " AND (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::integer[]))",
                    [self._group, self._instance, [topic for topic, _ in mine], [part for _, part in mine]],
                )
        except DatabaseError as error:
            logger.warning("%s: could not let go of its partitions: %s", self._group, error)

    def suspects(self, record: Record) -> bool:
        """Whether its event is to be run alone."""
        return (record.topic, record.partition) in self._left

    def cut(self, records: list[Record]) -> list[Record]:
        """As many of these records as may be run together: a suspect alone, others up to the next suspect."""
        if not self._left:
            return records
        for count, record in enumerate(records):
            if self.suspects(record):
                return records[: max(1, count)]
        return records

    def begin(self, record: Record) -> ProcessDied | None:
        """Mark a suspect as being in hand; its verdict if it has killed often enough.

        Raises the database's errors.
        """
        place = (record.topic, record.partition)
        self._begun = None
        if place not in self._left:
            return None
        offset, deaths = self._marked.get(place, (-1, 0))
        if offset != record.offset:
            deaths = 1  # the batch that died may have had it in hand
        if deaths >= DEATHS:
            return died_with_it(deaths)
        self._mark(place, record.offset, deaths + 1)
        self._begun = place
        return None

    def end(self, record: Record, *, new: bool) -> None:
        """The record has been moved past, and its process is alive. `new` if the inbox did not know it."""
        place = (record.topic, record.partition)
        if new and place in self._left:
            self._left[place] -= 1
            if self._left[place] == 0:
                del self._left[place]
                logger.info("%s: nothing in %s/%s is suspect any more", self._group, *place)

    def absolve(self) -> None:
        """The suspect that was begun failed, or waits, and its process is alive: this was no death."""
        place, self._begun = self._begun, None
        if place is None or place not in self._marked:
            return
        offset, deaths = self._marked[place]
        # Also where that cannot be written now: the next mark says how often it has really killed.
        self._marked[place] = (offset, deaths - 1)
        try:
            self._mark(place, offset, deaths - 1)
        except DatabaseError as error:
            logger.warning("%s: a suspect could not be absolved: %s", self._group, error)

    def _mark(self, place: Placement, offset: int, deaths: int) -> None:
        with connections[self._using].cursor() as sql:
            sql.execute(
                "UPDATE outbox_partition_owner SET in_hand = %s, deaths = %s"
                " WHERE consumer_group = %s AND topic = %s AND partition = %s AND instance = %s",
                [offset, deaths, self._group, *place, self._instance],
            )
        self._marked[place] = (offset, deaths)
