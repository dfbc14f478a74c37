"""Moving a consumer to another moment: back, to have events delivered again, or on, to have them skipped.

What was processed already is dropped when it comes again, by the inbox. What is skipped is entered there as
discarded, and its keys' numbers are counted as passed: whatever comes next continues them, and leaves no gap.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction

from outbox import clock
from outbox.config import config
from outbox.errors import SeekRefused
from outbox.generations import hold, live_generation, lock_number
from outbox.inbox import Inbox, Key
from outbox.item import Item, read_item
from outbox.kafka import Cluster, Placement, Record, records_between
from outbox.models import Outcome
from outbox.positions import PartitionEnd, Position
from outbox.recovery import Family, family_of
from outbox.registry import Consumer
from outbox.repair.acts import Operator, Steered, Via, write_down_steering
from outbox.sessions import enter_batch
from outbox.watchdog import idle_limit

CHUNK = 1_000
# What is skipped is read and entered event by event: more is for a terminal.
MOST_SKIPPED = 20_000
# Seconds for which a page waits for a preview.
PREVIEW_SECONDS = 10.0
# The class of the advisory locks: "obxs" in ASCII.
_SEEKER_CLASS = 0x6F627873

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Move:
    """One partition's: the next offset to be read now, and then.

    end        the offset after its last record
    known      how many of the records that will come again the inbox knows; they will be dropped
    forgotten  how many of those are older than what it still knows: nobody could tell which are new
    """

    topic: str
    partition: int
    now: int
    then: int
    end: int
    known: int = 0
    forgotten: int = 0

    @property
    def again(self) -> int:
        """Records that will come again."""
        return max(self.now - self.then, 0)

    @property
    def skipped(self) -> int:
        """Records that will not be processed."""
        return max(self.then - self.now, 0)


def moment_to_seek(moment: datetime) -> datetime:
    """The same, if a consumer may be moved to it. Raises ValueError, in words for whoever named it.

    None that is yet to come: what comes until then would be skipped unseen.
    """
    if moment.year < 1970:
        raise ValueError("That was before Kafka's clocks begin: 1970-01-01T00:00:00Z is before all records.")
    if moment > clock.now():
        raise ValueError("That time is yet to come: a consumer is moved to one that has been.")
    return moment


def preview(consumer: Consumer, *, to: datetime) -> list[Move]:
    """From where to where each partition would move: to the first record that Kafka got at or after `to`.

    Where there is none, to the end. Changes nothing. Raises BrokerError.
    """
    cluster = Cluster(config().kafka)
    counts = cluster.partition_counts()
    places = [(topic, part) for topic in consumer.topics for part in range(counts.get(topic, 0))]
    committed, starts = cluster.committed(consumer.name, places), cluster.log_starts(places)
    ends, found = cluster.watermarks(places), cluster.first_since(places, to)
    forgotten_until = _forgotten_until(consumer)
    remembered = cluster.first_since(places, forgotten_until) if forgotten_until > to else {}
    moves = []
    for place in places:
        # What retention has taken is neither read again nor skipped.
        now = max(committed.get(place, 0), starts[place])
        offset = found[place]
        then = ends[place] if offset is None else offset
        known = _known(consumer, place, then, now, since=to) if then < now else 0
        first = remembered.get(place, then)
        forgotten = max(min(ends[place] if first is None else first, now) - then, 0)
        moves.append(Move(*place, now=now, then=then, end=ends[place], known=known, forgotten=forgotten))
    return moves


def preview_within(consumer: Consumer, *, to: datetime, seconds: float) -> list[Move]:
    """preview(), for those who wait: SeekRefused too, when the database takes longer to count."""
    try:
        with transaction.atomic(using=consumer.using):
            with connections[consumer.using].cursor() as sql:
                sql.execute("SELECT set_config('statement_timeout', %s, true)", [str(round(seconds * 1_000))])
            return preview(consumer, to=to)
    except DatabaseError as error:
        if family_of(error) is not Family.CONTENTION:
            raise
        raise SeekRefused(
            "Counting what it knows takes too long to be waited for here:"
            f" manage.py consumers seek {consumer.name} --dry-run."
        ) from error


def _forgotten_until(consumer: Consumer) -> datetime:
    """Until when the inbox has forgotten what happened."""
    generation = live_generation(consumer.name, using=consumer.using)
    spans = Inbox(consumer=consumer.name, generation=generation, using=consumer.using).forgotten()
    return max((until for _, until in spans), default=datetime.min.replace(tzinfo=UTC))


def seek(
    consumer: Consumer,
    *,
    to: datetime,
    by: str,
    skip: str = "",
    reason: str = "",
    via: Via = Via.PYTHON,
    at_most: int | None = None,
) -> list[Move]:
    """Move the consumer to the first record of each partition at or after `to`; return what was done.

    It is written down as acts: of what was skipped in each transaction, and at last of the move; of one that
    had been made already, no more.

    by      who asks
    skip    why events may be skipped, which are then entered as discarded; without it, none may
    reason  why it is moved, where that is another thing
    at_most how many events may be skipped, where whoever asks has seen a number

    No instance may run meanwhile. It can be repeated: when it was cut short, the same call does the rest.
    Raises SeekRefused when an instance runs, when events would come again that are older than what the inbox
    knows, when some would be skipped without a reason, or more than may be, or when one to be skipped belongs
    to a key that is parked; BrokerError.
    """
    operator, cluster = Operator(by, skip or reason, via), Cluster(config().kafka)
    if members := cluster.members(consumer.name):
        names = ", ".join(sorted(members))
        raise SeekRefused(f"Instances of {consumer.name} are running ({names}): stop them all first.")
    moves = preview(consumer, to=to)
    if forgotten := sum(move.forgotten for move in moves):
        raise SeekRefused(
            f"{forgotten} events would come again of weeks whose inbox was dropped, and nobody could tell"
            f" which are new. Seek to {_forgotten_until(consumer):%Y-%m-%dT%H:%MZ} or later. What"
            f" {consumer.name} missed before that it gets by `manage.py replay --from-outbox`, or a rebuild."
        )
    skipped = sum(move.skipped for move in moves)
    if skipped and not skip.strip():
        raise SeekRefused(
            f"{skipped} events would never be processed by {consumer.name}: if it is meant, say why (--skip)."
        )
    if at_most is not None and skipped > at_most:
        raise SeekRefused(
            f"{skipped:,} events would be skipped by now, and no more than {at_most:,} may be: look again."
        )
    if skipped:
        # The list of members may lack some while brokers start; who knows for certain refuses this. What is
        # discarded under a running instance would be taken from it.
        cluster.set_committed(consumer.name, {(move.topic, move.partition): move.now for move in moves})
        _discard(consumer, moves, operator)
        logger.warning("consumer %s skips %s events: %s", consumer.name, skipped, skip)
    cluster.set_committed(consumer.name, {(move.topic, move.partition): move.then for move in moves})
    with transaction.atomic(using=consumer.using):
        _one_at_a_time(consumer)
        if _tell(consumer, moves, to):
            _write_down(operator, Steered.MOVED, _told(moves, to), consumer)
    logger.info("consumer %s reads on from %s", consumer.name, to.isoformat())
    return moves


# What came to Kafka since then was processed since then; clocks may differ.
_KNOWN = """
SELECT count(*) FROM outbox_inbox WHERE processed_at > %s::timestamptz - interval '1 hour'
    AND consumer = %s AND topic = %s AND partition = %s AND "offset" >= %s AND "offset" < %s
"""


def _known(consumer: Consumer, place: Placement, start: int, end: int, *, since: datetime) -> int:
    with connections[consumer.using].cursor() as sql:
        sql.execute(_KNOWN, [since, consumer.name, *place, start, end])
        return int(sql.fetchone()[0])


def _discard(consumer: Consumer, moves: list[Move], operator: Operator) -> None:
    """Enter what will be skipped into the inbox, in transactions of CHUNK events."""
    starts = {(move.topic, move.partition): move.now for move in moves if move.skipped}
    ends = {(move.topic, move.partition): move.then for move in moves if move.skipped}
    for records in _chunks(records_between(config().kafka, starts, ends)):
        with transaction.atomic(using=consumer.using):
            enter_batch(limit=idle_limit(consumer), using=consumer.using)
            if skipped := _discard_some(consumer, records):
                _write_down(
                    operator, Steered.SKIPPED, f"{skipped} events are discarded unprocessed.", consumer
                )


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _discard_some(consumer: Consumer, records: list[Record]) -> int:
    """In the transaction under way. How many of these the inbox did not know."""
    held = hold(consumer, building=None)
    inbox = Inbox(
        consumer=consumer.name, generation=held.number, using=consumer.using, inherits=held.inherits
    )
    now = clock.now(using=consumer.using)
    items: dict[object, Item] = {}
    for record in records:
        item = read_item(record, consumer=consumer, now=now)
        items.setdefault(item.inbox_id, item)
    keys = {item.key for item in items.values() if item.key is not None}
    inbox.lock_keys(keys)
    if parked := inbox.parked(keys):
        topic, key = min(parked)
        raise SeekRefused(
            f"{len(parked)} keys with events to be skipped are parked, {key!r} of {topic} for one: what waits"
            " there has its turn first. Release them, or seek to an earlier time."
        )
    known = inbox.known([item.inbox_id for item in items.values()])
    fresh = [item for item in items.values() if item.inbox_id not in known]
    numbers: dict[Key, int] = {}
    for item in fresh:
        if item.key is not None and item.number is not None:
            numbers[item.key] = max(item.number, numbers.get(item.key, 0))
    inbox.advance(numbers)
    inbox.claim([item.claim(Outcome.DISCARDED) for item in fresh])
    return len(fresh)


def _write_down(operator: Operator, result: Steered, detail: str, consumer: Consumer) -> None:
    write_down_steering(operator, "seek", result, detail, consumer=consumer.name, using=consumer.using)


def _told(moves: list[Move], to: datetime) -> str:
    places = [f"{move.topic}/{move.partition} from {move.now} to {move.then}" for move in moves]
    return f"It reads on from {to.isoformat()}: {', '.join(places)}."


def _one_at_a_time(consumer: Consumer) -> None:
    """Of two who ask for the same move at the same time the second finds it made."""
    with connections[consumer.using].cursor() as sql:
        sql.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_SEEKER_CLASS, lock_number(consumer.name)])


def _tell(consumer: Consumer, moves: list[Move], to: datetime) -> bool:
    """Where it stands now, so that its lag is right before an instance runs; whether that was any news."""
    positions = Position.objects.using(consumer.using).filter(consumer=consumer.name, clear_until=to)
    known = set(positions.values_list("topic", "partition", "reached"))
    if all((move.topic, move.partition, move.then) in known for move in moves):
        return False
    for move in moves:
        place: dict[str, Any] = {"topic": move.topic, "partition": move.partition}
        PartitionEnd.objects.using(consumer.using).update_or_create(
            **place, defaults={"next_offset": move.end, "told_at": clock.now(using=consumer.using)}
        )
        Position.objects.using(consumer.using).update_or_create(
            consumer=consumer.name, **place, defaults={"reached": move.then, "clear_until": to}
        )
    return True
