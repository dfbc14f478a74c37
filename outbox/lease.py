"""Who relays which shards: leases by the database's clock, shared fairly by all relays that are there.

A holder that went silent keeps a shard waiting for the lease time; for a minute or ten leases where the clock
was ahead. One that wakes late finds a higher epoch and can move no cursor, so what it sent again does no more
than repeat.
"""

import logging
import os
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connections

from outbox.errors import LeaseLost, RestoredDatabase, StandbyDatabase
from outbox.keys import SHARDS
from outbox.window import Cursor, Snapshot

logger = logging.getLogger(__name__)

# Shards by how far they have come. Those that have come equally far are read together.
Positions = dict[Cursor, list[int]]


@dataclass(frozen=True, slots=True)
class Imbalance:
    """How many shards a relay holds beyond its share, and how many that nobody holds it should take."""

    spare: int
    take: int

    def __bool__(self) -> bool:
        return bool(self.spare or self.take)


# An end further away than any lease lasts was written while the database's clock was ahead.
_AHEAD = "expires_at > clock_timestamp() + make_interval(secs => %(longest)s)"
_ENDED = f"(expires_at <= clock_timestamp() OR {_AHEAD})"
# Whether some shard's cursor knows transactions that this server has yet to number.
_BEHIND = (
    "(SELECT bool_or(pg_snapshot_xmax(previous) > pg_snapshot_xmax(pg_current_snapshot())) FROM outbox_shard)"
)
# Members in one order for all: the first ones have one shard more where the shards do not divide evenly.
_LOOK = f"""
SELECT (SELECT array_agg(owner ORDER BY owner) FROM outbox_relay WHERE NOT {_ENDED}),
    (SELECT count(*) FROM outbox_shard WHERE owner IS NULL OR owner = %(owner)s OR {_ENDED}),
    (SELECT count(*) FROM outbox_shard),
    (SELECT count(*) FROM outbox_shard WHERE owner = %(owner)s AND shard = ANY(%(held)s::smallint[])),
    {_BEHIND}
"""
_TAKE = f"""
UPDATE outbox_shard AS shard SET owner = %(owner)s, epoch = shard.epoch + 1,
    expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM (
    SELECT shard FROM outbox_shard
    WHERE shard <> ALL(%(held)s::smallint[])
        AND (owner IS NULL OR owner = %(owner)s OR {_ENDED})
    ORDER BY shard LIMIT %(count)s FOR UPDATE SKIP LOCKED
) AS free WHERE shard.shard = free.shard
RETURNING shard.shard, shard.epoch, previous::text, current::text, position
"""
# Rows are locked in one order, here and by the heartbeat.
_STORE = """
UPDATE outbox_shard AS shard SET previous = %(previous)s::pg_snapshot, current = %(current)s::pg_snapshot,
    position = %(position)s
FROM (
    SELECT own.shard FROM outbox_shard AS own
    JOIN unnest(%(shards)s::smallint[], %(epochs)s::bigint[]) AS held (shard, epoch) USING (shard)
    WHERE own.epoch = held.epoch AND own.owner = %(owner)s ORDER BY own.shard FOR UPDATE OF own
) AS held WHERE shard.shard = held.shard
"""
# The row of a relay that went away without a word is of no use to anybody for long.
_BEAT = f"""
WITH gone AS (
    DELETE FROM outbox_relay
    WHERE owner <> %(owner)s AND (expires_at < clock_timestamp() - interval '1 hour' OR {_AHEAD})
), here AS (
    INSERT INTO outbox_relay (owner, expires_at)
    VALUES (%(owner)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (owner) DO UPDATE SET expires_at = EXCLUDED.expires_at
)
UPDATE outbox_shard AS shard SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
FROM (
    SELECT own.shard FROM outbox_shard AS own
    WHERE own.owner = %(owner)s AND own.shard = ANY(%(held)s::smallint[]) ORDER BY own.shard FOR UPDATE
) AS held WHERE shard.shard = held.shard
"""


def _longest(seconds: float) -> float:
    """Relays need not agree on how long a lease lasts; by far they may not differ."""
    return max(60.0, 10 * seconds)


def members(*, seconds: float, using: str) -> list[str]:
    """The relays that are there, where leases last about so long."""
    with connections[using].cursor() as sql:
        sql.execute(
            f"SELECT owner FROM outbox_relay WHERE NOT {_ENDED} ORDER BY owner",
            {"longest": _longest(seconds)},
        )
        return [owner for (owner,) in sql.fetchall()]


def is_behind_its_cursor(*, using: str) -> bool:
    """Whether the server's transaction ids are not those that a cursor was taken from."""
    with connections[using].cursor() as sql:
        sql.execute(f"SELECT {_BEHIND}")
        return bool(sql.fetchone()[0])


def check_primary(*, using: str) -> None:
    """Raises StandbyDatabase: it hides open transactions, and may lack rows of a window."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_is_in_recovery()")
        if sql.fetchone()[0]:
            raise StandbyDatabase


class Leases:
    """One relay's shards. Used by the relay's own thread; `Heartbeat` renews them beside it."""

    def __init__(self, *, using: str, seconds: float) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.seconds = seconds
        self.using = using
        self._longest = _longest(seconds)
        self._epochs: dict[int, int] = {}

    @property
    def shards(self) -> list[int]:
        """Those that this process believes it holds; the database decides at each cursor commit."""
        return sorted(self._epochs)

    def look(self) -> Imbalance:
        """Compare what is held with this relay's share. Writes nothing.

        Raises RestoredDatabase, and LeaseLost when another relay has taken one of its shards over.
        """
        with connections[self.using].cursor() as sql:
            sql.execute(_LOOK, {"owner": self.owner, "held": self.shards, "longest": self._longest})
            members, available, present, own, ahead = sql.fetchone()
        if ahead:
            raise RestoredDatabase(
                "The database's transaction ids are behind the relay's cursor: it was restored from a dump,"
                " and what is new would be skipped. Stop the relays and run `manage.py relay adopt dump`."
            )
        share, held = self._share(members or []), len(self._epochs)
        if own < held:
            raise LeaseLost
        if present < SHARDS:  # a table emptied by hand
            available += SHARDS - present
        return Imbalance(spare=max(held - share, 0), take=max(min(share, available) - held, 0))

    def _share(self, members: list[str]) -> int:
        if self.owner not in members:
            return 0  # until the first heartbeat
        each, more = divmod(SHARDS, len(members))
        return each + (members.index(self.owner) < more)

    def take(self, count: int) -> Positions:
        """Take up to so many shards that nobody holds; return where to go on with each."""
        with connections[self.using].cursor() as sql:
            # A table emptied by hand begins again at the beginning: repeating is safe, skipping is not.
            sql.execute(
                "INSERT INTO outbox_shard (shard) SELECT generate_series(0, %s) ON CONFLICT DO NOTHING",
                [SHARDS - 1],
            )
            sql.execute(
                _TAKE,
                {
                    "owner": self.owner,
                    "seconds": self.seconds,
                    "longest": self._longest,
                    "count": count,
                    "held": self.shards,
                },
            )
            rows = sql.fetchall()
        positions: Positions = defaultdict(list)
        taken = {}
        for shard, epoch, previous, current, position in rows:
            taken[shard] = epoch
            cursor = Cursor(Snapshot(previous), Snapshot(current) if current else None, position)
            positions[cursor].append(shard)
        self._epochs = {**self._epochs, **taken}  # not in place: the heartbeat reads it
        return dict(positions)

    def guard(self) -> None:
        """Begin a transaction that stores a cursor: nobody is kept waiting by it for longer than a lease.

        The server ends the session of a relay that was frozen before its commit, and gives up to wait for a
        row that such a one holds.
        """
        patience = f"{max(1, int(self.seconds * 1_000))}ms"
        with connections[self.using].cursor() as sql:
            sql.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, true),"
                " set_config('lock_timeout', %s, true)",
                [patience, patience],
            )

    def store(self, cursor: Cursor, shards: list[int]) -> None:
        """Keep how far these shards have come, as the last statement of the caller's transaction.

        Raises LeaseLost when another relay has taken one of them over.
        """
        with connections[self.using].cursor() as sql:
            sql.execute(
                _STORE,
                {
                    "owner": self.owner,
                    "shards": shards,
                    "epochs": [self._epochs.get(shard, -1) for shard in shards],
                    "previous": cursor.previous.text,
                    "current": None if cursor.current is None else cursor.current.text,
                    "position": cursor.position,
                },
            )
            if sql.rowcount != len(shards):
                raise LeaseLost

    def give(self, positions: Mapping[Cursor, Iterable[int]]) -> None:
        """Let others go on with these shards from here, at once. Raises LeaseLost."""
        for cursor, shards in positions.items():
            given = list(shards)
            self.store(cursor, given)
            self._release(given)
            self._epochs = {shard: epoch for shard, epoch in self._epochs.items() if shard not in given}

    def leave(self) -> None:
        """Let others take over at once, from the stored cursors, and be no member any more."""
        self.begin_again()
        with connections[self.using].cursor() as sql:
            sql.execute("DELETE FROM outbox_relay WHERE owner = %s", [self.owner])

    def begin_again(self) -> None:
        """Hold nothing, here and in the database: what was held before something failed is anyone's."""
        self._epochs = {}
        self._release(range(SHARDS))

    def _release(self, shards: Iterable[int]) -> None:
        with connections[self.using].cursor() as sql:
            sql.execute(
                "UPDATE outbox_shard SET owner = NULL, expires_at = NULL"
                " WHERE owner = %s AND shard = ANY(%s)",
                [self.owner, list(shards)],
            )

    def beat(self) -> None:
        """Be a member, and hold on to what is held, for another lease time."""
        with connections[self.using].cursor() as sql:
            sql.execute(
                _BEAT,
                {
                    "owner": self.owner,
                    "seconds": self.seconds,
                    "longest": self._longest,
                    "held": self.shards,
                },
            )


class Heartbeat:
    """A thread that holds on to the leases while the relay works, however long one of its statements takes.

    Where the database is away it says nothing: the relay's own thread meets that, too.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox-relay-heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        check_primary(using=self._leases.using)
        self._leases.beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = connections[self._leases.using]
        try:
            while not self._stop.wait(self._leases.seconds / 3):
                try:
                    self._leases.beat()
                except DatabaseError as error:
                    logger.debug("no heartbeat: %s", error)
                    connection.close()
        finally:
            connection.close()
