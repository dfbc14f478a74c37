"""Clearing away what earlier generations of a projection left behind, by one process at a time."""

import time
from contextlib import suppress
from getpass import getuser

from django.db import DatabaseError, connections

from outbox import succession
from outbox.config import Config, config
from outbox.consumer import group_of
from outbox.errors import RebuildUnderWay
from outbox.generations import become_builder, cease_building
from outbox.kafka import BrokerError, Cluster
from outbox.registry import Consumer
from outbox.repair.acts import Operator
from outbox.sessions import require_own

PAUSE = 0.2
GROUP_SECONDS = 15.0


class SoleBuilder:
    """Keeps other processes from rebuilding a projection meanwhile. Raises RebuildUnderWay, PooledDatabase.

    It rests on a lock of this thread's session with the database: with a killed process it goes.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._session: object = None

    def __enter__(self) -> None:
        self.keep()

    def __exit__(self, *_: object) -> None:
        if self._session is connections[self._consumer.using].connection:
            with suppress(DatabaseError):
                cease_building(self._consumer.name, using=self._consumer.using)

    def keep(self) -> None:
        """Take the lock again where the session was a new one."""
        connection = connections[self._consumer.using]
        connection.ensure_connection()
        if self._session is not connection.connection:
            require_own(using=self._consumer.using)
            if not become_builder(self._consumer.name, using=self._consumer.using):
                raise RebuildUnderWay(
                    f"{self._consumer.name} is being rebuilt by another process: wait for it, or stop it."
                )
            self._session = connection.connection


def clear_away(consumer: Consumer, *, settings: Config | None = None) -> int:
    """Remove what earlier generations have left; return how many they were. Can be repeated at any point.

    For the one who holds SoleBuilder. Raises NotAProjection, BrokerError.
    """
    cluster = Cluster((settings or config()).kafka)
    return succession.clear_away(
        consumer, forget_group=lambda one: _forget_group(cluster, group_of(consumer.name, building=one))
    )


def clear(consumer: Consumer, *, settings: Config | None = None) -> int:
    """clear_away() by itself, after a rebuild that could not. Raises RebuildUnderWay too."""
    with SoleBuilder(consumer):
        return clear_away(consumer, settings=settings)


def abandon(
    consumer: Consumer, *, operator: Operator | None = None, settings: Config | None = None
) -> list[int]:
    """Remove the half-built generation, and those that were given up before; return their numbers.

    operator  who asks, as the act says that is written down; the user of this machine when left out

    Raises NothingToAbandon when there is none, RebuildUnderWay, BrokerError: then the same call goes on.
    """
    with SoleBuilder(consumer):
        numbers = succession.abandon(consumer, operator=operator or Operator(getuser()))
        clear_away(consumer, settings=settings)
    return numbers


def _forget_group(cluster: Cluster, group: str) -> None:
    """Delete a group. Waits for a killed process's session in it to end. Raises BrokerError."""
    deadline = time.monotonic() + GROUP_SECONDS
    while True:
        try:
            return cluster.delete_group(group)
        except BrokerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
