"""Who relays: a lease on the shards, by the database's clock.

A holder that went silent keeps others waiting for the lease time; one that wakes late finds a higher epoch
and can move no cursor, so what it sent again does no more than repeat.
"""

import os
import secrets
import socket

from django.db import connections, transaction

from outbox.errors import LeaseLost, RestoredDatabase, StandbyDatabase
from outbox.keys import SHARDS
from outbox.window import Cursor, Snapshot


class Lease:
    """All shards for one relay: several relays stand by for each other."""

    def __init__(self, *, using: str, seconds: float) -> None:
        self.shards = list(range(SHARDS))
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._using = using
        self._seconds = seconds
        self._epoch: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process believes that it is the relay; the database decides at each cursor commit."""
        return self._epoch is not None

    def acquire(self) -> Cursor | None:
        """Take the shards and return their cursor, or None while another relay holds them.

        Raises StandbyDatabase, for snapshots of a standby hide open transactions, and RestoredDatabase.
        """
        if self._is_taken():
            return None
        with transaction.atomic(using=self._using), connections[self._using].cursor() as sql:
            # A table emptied by hand begins again at the beginning: repeating is safe, skipping is not.
            sql.execute(
                "INSERT INTO outbox_shard (shard) SELECT unnest(%s::smallint[]) ON CONFLICT DO NOTHING",
                [self.shards],
            )
            sql.execute(
                "SELECT owner IS NOT NULL AND owner <> %s AND expires_at > clock_timestamp(), epoch,"
                " previous::text, current::text, position"
                " FROM outbox_shard ORDER BY shard FOR UPDATE",
                [self.owner],
            )
            rows = sql.fetchall()
            if any(taken for taken, *_ in rows):
                return None
            epoch = max(row[1] for row in rows) + 1
            sql.execute(
                "UPDATE outbox_shard SET owner = %s, epoch = %s,"
                " expires_at = clock_timestamp() + make_interval(secs => %s)",
                [self.owner, epoch, self._seconds],
            )
        self._epoch = epoch
        # One relay holds all shards, so their cursors are always stored together.
        previous, current, position = rows[0][2:]
        return Cursor(Snapshot(previous), current and Snapshot(current), position)

    def _is_taken(self) -> bool:
        """Look without locking: a relay standing by writes nothing."""
        with connections[self._using].cursor() as sql:
            sql.execute("SELECT pg_is_in_recovery()")
            if sql.fetchone()[0]:
                raise StandbyDatabase
            sql.execute(
                "SELECT bool_or(owner <> %s AND expires_at > clock_timestamp()),"
                " bool_or(pg_snapshot_xmax(previous) > pg_snapshot_xmax(pg_current_snapshot()))"
                " FROM outbox_shard",
                [self.owner],
            )
            taken, ahead = sql.fetchone()
        if ahead:
            raise RestoredDatabase(
                f"{RestoredDatabase.__doc__} Its new events would be skipped. docs/operations.md says how to"
                " send all that it holds again; consumers drop what they know."
            )
        return bool(taken)

    def renew(self, cursor: Cursor) -> None:
        """Hold on for another lease time and store the cursor, in the caller's transaction.

        Raises LeaseLost when another relay has taken over.
        """
        with connections[self._using].cursor() as sql:
            sql.execute(
                "UPDATE outbox_shard SET expires_at = clock_timestamp() + make_interval(secs => %s),"
                " previous = %s, current = %s, position = %s"
                " WHERE owner = %s AND epoch = %s",
                [
                    self._seconds,
                    cursor.previous.text,
                    None if cursor.current is None else cursor.current.text,
                    cursor.position,
                    self.owner,
                    self._epoch,
                ],
            )
            if sql.rowcount != len(self.shards):
                self._epoch = None
                raise LeaseLost

    def release(self) -> None:
        """Let another relay take over at once."""
        epoch, self._epoch = self._epoch, None
        with connections[self._using].cursor() as sql:
            sql.execute(
                "UPDATE outbox_shard SET owner = NULL, expires_at = NULL WHERE owner = %s AND epoch = %s",
                [self.owner, epoch],
            )

    def forget(self) -> None:
        """Believe no more that the lease is held: the database could not be asked."""
        self._epoch = None
