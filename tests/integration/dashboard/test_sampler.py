"""One sampler for all viewers: begun by the first, ended with the last, honest about what is away."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, closing
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from accounts.services import ensure_user
from dashboard import asking, stream
from dashboard.alerts import count
from dashboard.measure import DatabaseProbe, DatabaseSample, KafkaProbe
from dashboard.sampler import Flow, Sampler
from outbox.alerts.alarms import Alarm
from tests.integration.dashboard.conftest import Pay

pytestmark = pytest.mark.django_db(transaction=True)
INTERVAL = 0.1
T = TypeVar("T")


class CountingProbe(DatabaseProbe):
    """The real one; counts how often it is asked, and remembers whose connection it uses."""

    asked = 0
    backend = 0

    def measure(self, **arguments: Any) -> DatabaseSample:
        type(self).asked += 1
        sample = super().measure(**arguments)
        type(self).backend = connection.connection.info.backend_pid
        return sample


@pytest.fixture
def probe() -> type[CountingProbe]:
    return type("Probe", (CountingProbe,), {"asked": 0, "backend": 0})


@pytest.fixture
async def sampler(probe: type[CountingProbe]) -> AsyncIterator[Sampler]:
    sampler = Sampler(database=probe, interval=INTERVAL)
    yield sampler
    assert not sampler.running


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Use the database from asynchronous code, leaving no connection behind."""

    def run() -> T:
        try:
            return work(*arguments)
        finally:
            connection.close()

    return await sync_to_async(run)()


async def first_that(flows: Any, condition: Callable[[Flow], bool], *, seconds: float = 20) -> Flow:
    async with asyncio.timeout(seconds):
        async for flow in flows:
            if condition(flow):
                return flow  # type: ignore[no-any-return]
    raise AssertionError("the sampler ended")


def another_session() -> psycopg.Connection:
    """Of this database, beside Django's."""
    parameters = connection.get_connection_params()
    options = {
        name: parameters[name]
        for name in ("host", "port", "user", "password", "dbname")
        if name in parameters
    }
    return psycopg.connect(**options, autocommit=True)


def backends() -> set[int]:
    """Who is connected to this database."""
    with another_session() as session:
        rows = session.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return {pid for (pid,) in rows}


async def test_many_viewers_cost_one_set_of_queries(sampler: Sampler, probe: type[CountingProbe]) -> None:
    seen: list[list[datetime]] = []

    async def view() -> None:
        mine: list[datetime] = []
        async with aclosing(sampler.watch(None)) as flows:
            async for flow in flows:
                mine.append(flow.at)
                if len(mine) == 8:
                    break
        seen.append(mine)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(view())
    assert len(seen) == 20
    moments = {at for mine in seen for at in mine}
    assert all(len(set(mine)) == 8 for mine in seen)
    assert probe.asked <= len(moments) + 2


async def test_the_last_to_leave_ends_it_with_its_connection(
    sampler: Sampler, probe: type[CountingProbe]
) -> None:
    threads = {task.get_name() for task in asyncio.all_tasks()}
    one, two = sampler.watch(None), sampler.watch(None)
    await anext(one)
    await first_that(two, lambda flow: flow.database.value is not None)
    assert sampler.viewers == 2
    assert probe.backend in await in_thread(backends)
    await one.aclose()
    assert sampler.running
    await two.aclose()
    assert not sampler.running
    async with asyncio.timeout(10):
        while probe.backend in await in_thread(backends):
            await asyncio.sleep(0.02)
        while "dashboard-sampler" in {task.get_name() for task in asyncio.all_tasks()} - threads:
            await asyncio.sleep(0.02)


async def test_a_viewer_that_is_cancelled_has_left(sampler: Sampler) -> None:
    async def view() -> None:
        async with aclosing(sampler.watch(None)) as flows:
            async for _ in flows:
                pass

    task = asyncio.create_task(view())
    async with asyncio.timeout(10):
        while not sampler.viewers:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sampler.viewers == 0


async def test_it_can_begin_again(sampler: Sampler) -> None:
    for _ in range(3):
        async with aclosing(sampler.watch(None)) as flows:
            await first_that(flows, lambda flow: flow.database.value is not None)
        assert not sampler.running


async def test_viewers_get_the_latest_events_of_all(sampler: Sampler, pay: Pay) -> None:
    # Merchants without their group: the tables have been emptied, roles and all.
    for name in ("payer", "other"):
        await in_thread(pay, await in_thread(partial(ensure_user, username=name, password=None)))
    async with aclosing(sampler.watch(None)) as flows:
        flow = await first_that(flows, lambda flow: bool(flow.database.value and flow.database.value.events))
    assert flow.database.value is not None
    assert (flow.database.value.events or "").count("<tr") == 4


async def test_the_badge_of_alarms_is_told_once(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "sampler", sampler)
    await in_thread(lambda: Alarm.objects.create(subject="orders", cause="late", severity="critical"))
    count.forget()
    found = []
    messages = stream._stream(acts=False)
    assert isinstance(messages, AsyncGenerator)
    async with asyncio.timeout(20), aclosing(messages):
        async for message in messages:
            found.append(message)
            if sum("event: pipeline" in one for one in found) == 8:
                break
    count.forget()
    [badge] = [one for one in found if one.startswith("event: badge")]
    assert 'data-state=\\"bad\\">1</span>' in badge


async def test_a_broken_connection_is_told_and_mended(sampler: Sampler, probe: type[CountingProbe]) -> None:
    def terminate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [probe.backend])

    async with aclosing(sampler.watch(None)) as flows:
        well = await first_that(flows, lambda flow: flow.database.value is not None)
        await in_thread(terminate)
        away = await first_that(flows, lambda flow: flow.database.away_since is not None)
        # The figures stay, with the time they are from.
        assert away.database.value is not None
        assert away.database.at is not None
        assert well.database.at is not None
        assert away.database.at >= well.database.at
        assert away.database.reason
        again = await first_that(flows, lambda flow: flow.database.away_since is None)
        assert again.database.at is not None
        assert again.database.at > away.database.at


async def test_a_figure_that_takes_too_long_is_not_known_and_the_others_stay_live(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "STATEMENT_TIMEOUT_MS", 500)
    monkeypatch.setattr(asking, "REST", 1.0)
    session = await in_thread(another_session)
    with closing(session):
        async with aclosing(sampler.watch(None)) as flows:
            await first_that(flows, lambda flow: flow.database.value is not None)
            await in_thread(session.execute, "BEGIN; LOCK TABLE outbox_alarm IN ACCESS EXCLUSIVE MODE")
            moments, what = [], "how far consumers are behind"
            async with asyncio.timeout(30):
                async for flow in flows:
                    assert flow.database.away_since is None
                    sample = flow.database.value
                    assert sample is not None
                    if what in sample.slow:
                        assert sample.behind is None
                        assert sample.relay is not None
                        assert sample.waiting is not None
                        assert sample.processed is not None
                        assert sample.events is not None
                        moments.append((sample.at, sample.slow[what]))
                    if len(moments) == 30:
                        break
            # It is told since when, and the rest of the figures are new each time.
            assert len({since for _, since in moments}) == 1
            assert len({at for at, _ in moments}) > 5
            await in_thread(session.close)
            again = await first_that(
                flows, lambda flow: flow.database.value is not None and not flow.database.value.slow
            )
            assert again.database.value is not None
            assert again.database.value.behind is not None


async def test_a_silent_kafka_holds_up_nothing_else(probe: type[CountingProbe]) -> None:
    from outbox.kafka import Cluster

    class Deaf(KafkaProbe):
        def __init__(self) -> None:
            # A port that nothing answers at.
            super().__init__(lambda: Cluster({"bootstrap.servers": "127.0.0.1:1"}, timeout=5.0))

    sampler = Sampler(database=probe, kafka=Deaf, interval=INTERVAL)
    async with aclosing(sampler.watch(None)) as flows:
        flow = await first_that(flows, lambda flow: flow.kafka.away_since is not None)
    assert flow.database.value is not None
    assert flow.database.away_since is None
    assert flow.kafka.value is None


async def test_a_mistake_of_ours_is_not_called_an_outage() -> None:
    class Mistaken(DatabaseProbe):
        def measure(self, **arguments: Any) -> DatabaseSample:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM outbox_event")
            raise AssertionError

    sampler = Sampler(database=Mistaken, interval=INTERVAL)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with aclosing(sampler.watch(None)) as flows:
            await first_that(flows, lambda flow: False)
    assert "nothing" in str(caught.value.exceptions[0])
    assert not sampler.running


async def test_kafka_is_read(sampler: Sampler) -> None:
    async with aclosing(sampler.watch(None)) as flows:
        flow = await first_that(flows, lambda flow: flow.kafka.value is not None)
    assert flow.kafka.value is not None
    assert flow.kafka.away_since is None
    assert flow.kafka.value.records >= 0
