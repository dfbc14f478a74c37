"""One sampler per web process, for however many viewers: begun by the first, ended with the last.

The database and Kafka are each asked once a second in a thread of their own, so that one that hangs holds up
neither the other nor the event loop. What a part last said stays, with its time, while it is away.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from django.db import connections

from dashboard.asking import STATEMENT_TIMEOUT_MS
from dashboard.measure import DatabaseProbe, DatabaseSample, KafkaProbe, KafkaSample
from dashboard.outage import Outage, kafka_outage
from dashboard.watched import Watched
from outbox.recovery import Family, family_of

INTERVAL = 1.0
# A part that says nothing for so long is away. No statement of one that is there takes as long.
SILENT = 1.0 + STATEMENT_TIMEOUT_MS / 1_000

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What a part said last, and when; `away_since` is set from its first failure until it answers again."""

    value: T | None = None
    at: datetime | None = None
    away_since: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Flow:
    """One published moment: compared by identity, so that what is made of it can be kept for all viewers."""

    at: datetime
    database: Reading[DatabaseSample]
    kafka: Reading[KafkaSample]


class Part(Generic[T]):
    """Something that is measured in a thread of its own, never twice at a time.

    Others that ask the same share its `outage`: it began with the first of them that had no answer.
    """

    def __init__(self, name: str, *, outage: Outage | None = None) -> None:
        self.reading: Reading[T] = Reading()
        self._outage = outage or Outage()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sampler-{name}")
        self._asked: tuple[asyncio.Future[T], datetime] | None = None
        self._heard = _now()

    async def ask(self, measure: Callable[[], T], *, patience: float) -> None:
        """Begin a measurement, unless the last one is still under way; wait for its end, but only so long.

        An answer, or the error of a part that is away or overloaded, becomes the reading; others are raised.
        """
        if self._asked is None:
            self._heard = _now()
            asked = asyncio.get_running_loop().run_in_executor(self._thread, self._listened_to, measure)
            self._asked = asked, self._heard
        future, begun = self._asked
        done, _ = await asyncio.wait([future], timeout=patience)
        if not done:
            if (_now() - self._heard).total_seconds() > SILENT:
                self._failed(self._heard, "It does not answer")
            return
        self._asked = None
        try:
            self.reading = Reading(future.result(), begun)
            self._outage.over()
        except Exception as error:
            if family_of(error) not in {Family.RECOVERABLE, Family.CONTENTION}:
                raise
            self._failed(begun, str(error).partition("\n")[0])

    def _listened_to(self, measure: Callable[[], T]) -> T:
        """Every statement that ends on the way, well or not, is a sign of life."""

        def note(execute: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return execute(*arguments)
            finally:
                self._heard = _now()

        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(note))
            return measure()

    def _failed(self, at: datetime, reason: str) -> None:
        last = self.reading
        since = min(last.away_since or at, self._outage.met(at))
        self.reading = Reading(last.value, last.at, since, reason)

    def stop(self, close: Callable[[], None]) -> None:
        """Close what the measurements opened, after the one under way, without waiting for it."""
        if self._asked is not None:
            # Nobody will ask for this answer: an error in it is no longer news.
            self._asked[0].add_done_callback(lambda future: future.cancelled() or future.exception())
        self._thread.submit(close)
        self._thread.shutdown(wait=False)


class Sampler(Watched[None, Flow]):
    """Publishes a Flow every INTERVAL seconds while anyone watches."""

    name = "dashboard-sampler"

    def __init__(
        self,
        *,
        database: Callable[[], DatabaseProbe] = DatabaseProbe,
        kafka: Callable[[], KafkaProbe] = KafkaProbe,
        interval: float = INTERVAL,
    ) -> None:
        super().__init__()
        self._make_probes = (database, kafka)
        self._interval = interval

    async def _run(self) -> None:
        make_database, make_kafka = self._make_probes
        database_probe, kafka_probe = make_database(), make_kafka()
        database, kafka = Part[DatabaseSample]("database"), Part[KafkaSample]("kafka", outage=kafka_outage)
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, now = loop.time() + self._interval, _now()
                last = self._latest
                look = partial(database_probe.measure, now=now, since=last.at if last else now)
                async with asyncio.TaskGroup() as group:
                    group.create_task(database.ask(look, patience=self._interval))
                    group.create_task(
                        kafka.ask(partial(kafka_probe.measure, now=now), patience=self._interval)
                    )
                self._publish(Flow(now, database.reading, kafka.reading))
                await asyncio.sleep(due - loop.time())
        finally:
            database.stop(database_probe.close)
            kafka.stop(kafka_probe.close)


sampler = Sampler()
