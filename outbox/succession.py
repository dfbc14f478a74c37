"""How one generation of a projection follows another: begun, made live, and the old one cleared away.

What the old one knows and the new one cannot, because Kafka no longer had the records, is handed over.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.db import connections, transaction

from outbox.errors import GenerationEnded, NotAProjection, NothingToAbandon
from outbox.generations import FIRST, live_generation, take_next
from outbox.models import Generation, GenerationState
from outbox.registry import Consumer, Projection
from outbox.repair.acts import Operator, Steered, write_down_steering

BATCH = 5_000
# Tables whose rows go with their generation.
_OF_A_GENERATION = (
    "outbox_dead_letter",
    "outbox_waiting_event",
    "outbox_parked_key",
    "outbox_topic_beginning",
)


def begin(consumer: Consumer) -> int:
    """The generation to be built: the half-built one if there is one, else the next."""
    with transaction.atomic(using=consumer.using), connections[consumer.using].cursor() as sql:
        take_next(consumer.name, using=consumer.using)
        # The first generation is live where no row says so.
        sql.execute(
            "INSERT INTO outbox_generation (consumer, generation, state) VALUES (%s, %s, 'live')"
            " ON CONFLICT DO NOTHING",
            [consumer.name, FIRST],
        )
        sql.execute(
            "SELECT max(generation) FILTER (WHERE state = 'building'), max(generation) + 1"
            " FROM outbox_generation WHERE consumer = %s",
            [consumer.name],
        )
        half_built, following = sql.fetchone()
        if half_built is not None:
            return int(half_built)
        sql.execute(
            "INSERT INTO outbox_generation (consumer, generation, state) VALUES (%s, %s, 'building')",
            [consumer.name, following],
        )
        return int(following)


def abandon(consumer: Consumer, *, operator: Operator) -> list[int]:
    """Give up the half-built generation; return all that were given up and are still to be cleared away.

    Raises NothingToAbandon.
    """
    with transaction.atomic(using=consumer.using), connections[consumer.using].cursor() as sql:
        take_next(consumer.name, using=consumer.using)
        sql.execute(
            "UPDATE outbox_generation SET state = 'abandoned', retired_at = now()"
            " WHERE consumer = %s AND state = 'building' RETURNING generation",
            [consumer.name],
        )
        for (number,) in sql.fetchall():
            write_down_steering(
                operator,
                "abandon",
                Steered.ABANDONED,
                f"Generation {number}, half built, is given up.",
                consumer=consumer.name,
                generation=number,
                using=consumer.using,
            )
        sql.execute(
            "SELECT generation FROM outbox_generation WHERE consumer = %s AND state = 'abandoned' ORDER BY 1",
            [consumer.name],
        )
        numbers = [number for (number,) in sql.fetchall()]
    if not numbers:
        raise NothingToAbandon
    return numbers


def replace(
    consumer: Consumer, *, new: int, before: datetime | None, operator: Operator, drops_history: bool = False
) -> None:
    """Make `new` live, in the transaction under way, which has kept the live one's batches out.

    before         from when on `new` was built from its events; earlier effects are the old one's. None: all
    operator       who asked for it, as the act says that is written down
    drops_history  whether what the old one alone had is given up, as that says, too

    Raises GenerationEnded when `new` is not being built.
    """
    with connections[consumer.using].cursor() as sql:
        sql.execute(
            "UPDATE outbox_generation SET state = 'retired', retired_at = now()"
            " WHERE consumer = %s AND state = 'live' RETURNING generation",
            [consumer.name],
        )
        [(old,)] = sql.fetchall()
        sql.execute(
            "UPDATE outbox_generation SET state = 'live', live_at = clock_timestamp()"
            " WHERE consumer = %s AND state = 'building' AND generation = %s",
            [consumer.name, new],
        )
        if sql.rowcount != 1:
            raise GenerationEnded(f"Generation {new} of {consumer.name} is not being built any more.")
        who = {"consumer": consumer.name, "old": old, "new": new, "before": before}
        for statement in _SET_ASIDE:
            sql.execute(statement, who)
    kept = "" if before is None else f" What happened before {before:%Y-%m-%d} is taken over."
    lost = " What Kafka no longer had is given up." if drops_history else ""
    write_down_steering(
        operator,
        "rebuild",
        Steered.REBUILT,
        f"Generation {new} replaces generation {old}.{kept}{lost}",
        consumer=consumer.name,
        generation=new,
        using=consumer.using,
    )


# What the old generation has set aside stays so, if the new one did not come to it, or has an effect of it
# that is about to be dropped for the old one's.
_ASIDE = """
    WHERE aside.consumer = %(consumer)s AND aside.generation = %(old)s
    AND NOT EXISTS (
        SELECT FROM outbox_inbox AS known
        WHERE known.event_id = aside.event_id AND known.consumer = %(consumer)s
            AND known.generation = %(new)s
            AND (known.outcome IN ('dead', 'parked')
                OR coalesce(known.occurred_at >= %(before)s::timestamptz, true))
    )
"""
_SET_ASIDE = (
    f"""
    UPDATE outbox_dead_letter AS aside SET generation = %(new)s {_ASIDE}
    AND aside.state = 'open' AND NOT EXISTS (
        SELECT FROM outbox_dead_letter AS own WHERE own.consumer = %(consumer)s
            AND own.generation = %(new)s AND own.event_id = aside.event_id
    )
    """,
    f"UPDATE outbox_waiting_event AS aside SET generation = %(new)s {_ASIDE}",
    """
    INSERT INTO outbox_parked_key (consumer, generation, topic, key, cause, event_id, parked_at)
    SELECT consumer, %(new)s, topic, key, cause, event_id, parked_at FROM outbox_parked_key AS parked
    WHERE consumer = %(consumer)s AND generation = %(old)s AND (
        EXISTS (SELECT FROM outbox_dead_letter AS letter WHERE letter.consumer = %(consumer)s
            AND letter.generation = %(new)s AND letter.event_id = parked.event_id AND letter.state = 'open')
        OR EXISTS (SELECT FROM outbox_waiting_event AS waiting WHERE waiting.consumer = %(consumer)s
            AND waiting.generation = %(new)s AND waiting.topic = parked.topic AND waiting.key = parked.key))
    ON CONFLICT DO NOTHING
    """,
    """
    UPDATE outbox_inbox AS known SET outcome = 'dead' FROM outbox_dead_letter AS letter
    WHERE letter.consumer = %(consumer)s AND letter.generation = %(new)s AND letter.state = 'open'
        AND known.event_id = letter.event_id AND known.consumer = %(consumer)s
        AND known.generation = %(new)s AND known.outcome = 'processed'
    """,
    """
    UPDATE outbox_inbox AS known SET outcome = 'parked' FROM outbox_waiting_event AS waiting
    WHERE waiting.consumer = %(consumer)s AND waiting.generation = %(new)s
        AND known.event_id = waiting.event_id AND known.consumer = %(consumer)s
        AND known.generation = %(new)s AND known.outcome = 'processed'
    """,
)


def clear_away(consumer: Consumer, *, forget_group: Callable[[int], None]) -> int:
    """Remove what retired and abandoned generations left behind; return how many generations that were.

    In batches, each a transaction of its own: live batches go on beside it, and it can be repeated at any
    point. `forget_group` is called with each generation that is no longer being built.
    """
    left = Generation.objects.using(consumer.using).filter(
        consumer=consumer.name, state__in=[GenerationState.RETIRED, GenerationState.ABANDONED]
    )
    numbers = sorted(left.values_list("generation", "state"))
    live = live_generation(consumer.name, using=consumer.using)
    for number, state in numbers:
        forget_group(number)
        heir = live if state == GenerationState.RETIRED else None
        _clear_inbox(consumer, number, heir=heir)
        _clear_progress(consumer, number, heir=heir)
        with connections[consumer.using].cursor() as sql:
            for table in _OF_A_GENERATION:
                sql.execute(
                    f"DELETE FROM {table} WHERE consumer = %s AND generation = %s", [consumer.name, number]
                )
        while projection_of(consumer).discard(generation=number, limit=BATCH):
            pass
        # Last: until then its inbox rows speak for the live one, and its number is not given again.
        left.filter(generation=number).delete()
    if numbers:
        forget_group(live)
    return len(numbers)


_CLEAR_INBOX = """
WITH batch AS (
    SELECT event_id FROM outbox_inbox
    WHERE consumer = %(consumer)s AND generation = %(old)s AND event_id > %(last)s
    ORDER BY event_id LIMIT %(limit)s
), sorted AS (
    SELECT event_id, %(heir)s::smallint IS NOT NULL AND NOT EXISTS (
        SELECT FROM outbox_inbox AS known WHERE known.event_id = batch.event_id
            AND known.consumer = %(consumer)s AND known.generation = %(heir)s::smallint
    ) AS inherited FROM batch
), handed_over AS (
    UPDATE outbox_inbox AS entry SET generation = %(heir)s::smallint FROM sorted
    WHERE sorted.inherited AND entry.event_id = sorted.event_id
        AND entry.consumer = %(consumer)s AND entry.generation = %(old)s
), removed AS (
    DELETE FROM outbox_inbox AS entry USING sorted
    WHERE NOT sorted.inherited AND entry.event_id = sorted.event_id
        AND entry.consumer = %(consumer)s AND entry.generation = %(old)s
)
SELECT event_id FROM batch ORDER BY event_id DESC LIMIT 1
"""
_CLEAR_PROGRESS = """
WITH batch AS (
    SELECT topic, key, number FROM outbox_key_progress WHERE consumer = %(consumer)s AND generation = %(old)s
    ORDER BY topic, key LIMIT %(limit)s
), handed_over AS (
    INSERT INTO outbox_key_progress (consumer, generation, topic, key, number)
    SELECT %(consumer)s, %(heir)s::smallint, topic, key, number FROM batch
    WHERE %(heir)s::smallint IS NOT NULL ORDER BY topic, key ON CONFLICT DO NOTHING
)
DELETE FROM outbox_key_progress AS progress USING batch
WHERE progress.consumer = %(consumer)s AND progress.generation = %(old)s
    AND progress.topic = batch.topic AND progress.key = batch.key
"""


def _clear_inbox(consumer: Consumer, old: int, *, heir: int | None) -> None:
    last: UUID | None = UUID(int=0)
    while last is not None:
        with connections[consumer.using].cursor() as sql:
            sql.execute(
                _CLEAR_INBOX,
                {"consumer": consumer.name, "old": old, "heir": heir, "last": last, "limit": BATCH},
            )
            row = sql.fetchone()
        last = None if row is None else row[0]


def _clear_progress(consumer: Consumer, old: int, *, heir: int | None) -> None:
    cleared = BATCH
    while cleared:
        with connections[consumer.using].cursor() as sql:
            sql.execute(
                _CLEAR_PROGRESS, {"consumer": consumer.name, "old": old, "heir": heir, "limit": BATCH}
            )
            cleared = sql.rowcount


def projection_of(consumer: Consumer) -> Projection:
    """How this consumer is rebuilt. Raises NotAProjection."""
    if consumer.projection is None:
        raise NotAProjection(f"Consumer {consumer.name!r} is no projection: its effects would happen again.")
    return consumer.projection
