"""Which building of a projection is live, and how it stays so until a transaction ends.

The live consumer's batches hold an advisory lock in shared mode, the swap takes it alone. Not the lock of the
generation's row: sharers of a row pass a waiting writer by, for ever when several instances are busy, while
the advisory lock serves in order.
"""

import zlib
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections

from outbox.errors import GenerationEnded
from outbox.models import Generation, GenerationState
from outbox.registry import Consumer

FIRST = 1

# The classes of the advisory locks: "obxg", "obxb" and "obxn" in ASCII.
_LIVE_CLASS = 0x6F627867
_BUILDER_CLASS = 0x6F627862
_NEXT_CLASS = 0x6F62786E


@dataclass(frozen=True, slots=True)
class Held:
    """A generation that stays what it is until the commit.

    inherits     retired generations whose inbox rows still speak for this one
    is_building  it follows what operators have decided about events in those before it
    """

    number: int
    inherits: tuple[int, ...] = ()
    is_building: bool = False


def live_generation(consumer: str, *, using: str = DEFAULT_DB_ALIAS) -> int:
    """The generation whose rows are to be shown."""
    live = Generation.objects.using(using).filter(consumer=consumer, state=GenerationState.LIVE)
    number: int | None = live.values_list("generation", flat=True).first()
    return FIRST if number is None else number


def generations_of(consumer: Consumer) -> list[tuple[int, str]]:
    """Every generation of a consumer that there is anything of, with its state."""
    rows = Generation.objects.using(consumer.using).filter(consumer=consumer.name).order_by("generation")
    return list(rows.values_list("generation", "state")) or [(FIRST, GenerationState.LIVE.value)]


def being_built(consumer: Consumer, number: int) -> int | None:
    """The generation of this number if it is being built, else None."""
    return number if dict(generations_of(consumer)).get(number) == GenerationState.BUILDING else None


def hold_live(consumer: str, *, using: str = DEFAULT_DB_ALIAS) -> Held:
    """The live generation of a projection; nothing replaces it before this transaction ends."""
    with connections[using].cursor() as sql:
        # Two statements: the second must see what a swap committed for which the first had to wait.
        sql.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [_LIVE_CLASS, lock_number(consumer)])
        sql.execute(
            "SELECT generation, state FROM outbox_generation WHERE consumer = %s AND state IN (%s, %s)",
            [consumer, GenerationState.LIVE.value, GenerationState.RETIRED.value],
        )
        found: dict[int, str] = dict(sql.fetchall())
    live = [number for number, state in found.items() if state == GenerationState.LIVE]
    return Held(live[0] if live else FIRST, tuple(sorted({*found} - {*live})))


def take_live(consumer: str, *, using: str) -> None:
    """Wait for the batches under way, and keep new ones waiting until this transaction ends."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LIVE_CLASS, lock_number(consumer)])


def take_next(consumer: str, *, using: str) -> None:
    """Wait for whoever begins a generation or gives one up; nobody else does before this transaction ends."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_NEXT_CLASS, lock_number(consumer)])


def hold_building(consumer: str, number: int, *, using: str) -> Held:
    """The generation being built, which stays so until the commit. Raises GenerationEnded when it is not."""
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT FROM outbox_generation WHERE consumer = %s AND generation = %s AND state = %s FOR SHARE",
            [consumer, number, GenerationState.BUILDING.value],
        )
        if sql.fetchone() is None:
            raise GenerationEnded(f"Generation {number} of {consumer} is not being built any more.")
    return Held(number, is_building=True)


def take_building(consumer: str, number: int, *, using: str) -> None:
    """Wait for the builder's batch under way, and let it commit nothing until this transaction ends.

    Raises GenerationEnded when the generation is not being built.
    """
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT FROM outbox_generation WHERE consumer = %s AND generation = %s AND state = %s FOR UPDATE",
            [consumer, number, GenerationState.BUILDING.value],
        )
        if sql.fetchone() is None:
            raise GenerationEnded(f"Generation {number} of {consumer} is not being built any more.")


def hold(consumer: Consumer, *, building: int | None) -> Held:
    """The generation that a batch of this consumer works on, until the commit."""
    if building is not None:
        return hold_building(consumer.name, building, using=consumer.using)
    if consumer.projection is None:
        return Held(FIRST)
    return hold_live(consumer.name, using=consumer.using)


def lock_number(consumer: str) -> int:
    """A consumer's number among the advisory locks of one class; two with one number only wait more."""
    return zlib.crc32(consumer.encode()) - (1 << 31)


def try_lock(lock_class: int, name: str, *, using: str) -> bool:
    """Whether nobody else has this advisory lock; then it is this session's until its transaction ends."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [lock_class, lock_number(name)])
        return bool(sql.fetchone()[0])


def become_builder(consumer: str, *, using: str) -> bool:
    """Whether this session is now the one that rebuilds this projection. It is until the session ends."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_try_advisory_lock(%s, %s)", [_BUILDER_CLASS, lock_number(consumer)])
        return bool(sql.fetchone()[0])


def cease_building(consumer: str, *, using: str) -> None:
    """Let another session rebuild it."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_advisory_unlock(%s, %s)", [_BUILDER_CLASS, lock_number(consumer)])
