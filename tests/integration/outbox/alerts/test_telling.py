"""A notice is written once for each change that lasts, whoever looks and however often."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection

from outbox import clock, registry
from outbox.alerts.alarms import Alarm, Notice
from outbox.alerts.silencing import silence
from outbox.errors import NoSuchAlarm, NothingSaid, RepairRefused
from outbox.models import Refusal
from outbox.relay_models import RelayMember
from outbox.repair.acts import Act, Operator
from outbox.sampling import sample_when_due
from tests.database_clock import DatabaseClock
from tests.integration.at_once import at_once
from tests.integration.outbox.alerts.looking import look, present

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

OPS = Operator("ops", "a planned stop")


class World:
    """A system without consumers, in which a relay is there or is not, and time goes on as told."""

    def __init__(self, database: DatabaseClock) -> None:
        self._database = database
        self._ahead = timedelta()

    def after(self, **span: float) -> list[str]:
        """Let time pass and look; the kinds of all notices so far."""
        self._ahead += timedelta(**span)
        self._database.be_ahead(self._ahead)
        look()
        return list(Notice.objects.order_by("id").values_list("kind", flat=True))

    def relay_is(self, there: bool) -> None:
        RelayMember.objects.all().delete()
        if there:
            with connection.cursor() as sql:
                # Those that end in more than ten leases were written while the clock was ahead.
                sql.execute(
                    "INSERT INTO outbox_relay (owner, expires_at) VALUES ('one', clock_timestamp() + '59 s')"
                )


@pytest.fixture
def world() -> Iterator[World]:
    before = dict(registry._consumers)
    registry._consumers.clear()
    with DatabaseClock() as database:
        yield World(database)
    registry._consumers.update(before)


def test_it_is_told_once_it_has_held_and_once_it_has_been_over(world: World) -> None:
    assert world.after() == []
    assert world.after(seconds=20) == []
    assert world.after(seconds=11) == ["begun"]
    assert world.after(minutes=5) == ["begun"]
    world.relay_is(there=True)
    assert world.after(seconds=10) == ["begun"]
    world.relay_is(there=True)
    assert world.after(seconds=31) == ["begun", "ended"]
    world.relay_is(there=True)
    assert world.after(seconds=40) == ["begun", "ended"]
    begun, ended = Notice.objects.order_by("id")
    assert begun.body["type"] == "alarm.begun"
    assert begun.body["data"]["severity"] == "critical"
    assert begun.body["data"]["ended_at"] is None
    assert ended.body["data"]["alarm"] == begun.body["data"]["alarm"]
    assert ended.body["data"]["since"] == begun.body["data"]["since"]
    assert ended.body["data"]["ended_at"] > begun.body["data"]["since"]
    assert ended.body["text"] == "Over: No relay runs"


def test_what_is_over_before_it_has_held_is_told_to_nobody(world: World) -> None:
    world.after()
    world.relay_is(there=True)
    world.after(seconds=15)
    assert Alarm.objects.get().ended_at is not None
    world.relay_is(there=True)
    assert world.after(minutes=0.9) == []


def test_flapping_is_one_alarm_told_once(world: World) -> None:
    world.after()
    assert world.after(seconds=31) == ["begun"]
    for _ in range(5):
        world.relay_is(there=True)
        assert world.after(seconds=15) == ["begun"]
        world.relay_is(there=False)
        assert world.after(seconds=15) == ["begun"]
    assert Alarm.objects.count() == 1


def test_what_lasts_is_told_again_after_hours(world: World) -> None:
    world.after()
    world.after(seconds=31)
    assert world.after(hours=3.9) == ["begun"]
    assert world.after(hours=0.2) == ["begun", "lasts"]
    assert world.after(hours=3.9) == ["begun", "lasts"]
    assert world.after(hours=0.2) == ["begun", "lasts", "lasts"]


def test_what_has_grown_tenfold_is_told_again_without_waiting_for_hours(world: World) -> None:
    def held(number: int) -> list[str]:
        """Kafka has refused so many; what was told of that."""
        Refusal.objects.all().delete()
        Refusal.objects.bulk_create(
            Refusal(event_id=uuid4(), position=one, topic="t", key="k", cause="c", refused_at=clock.now())
            for one in range(number)
        )
        world.after(seconds=31)
        told = Notice.objects.filter(alarm__cause="refused").order_by("id")
        return [f"{one.kind}: {one.body['text']}".partition(" of t")[0] for one in told]

    assert held(2) == []
    told = ["begun: 2 events"]
    assert held(2) == held(19) == told
    told += ["lasts: Still: 20 events"]
    assert held(20) == held(20) == held(3) == held(199) == told
    told += ["lasts: Still: 200 events"]
    assert held(200) == told
    # More are not counted: that there are so many is told, once.
    assert len(held(1_100)) == len(told) + 1
    assert len(held(1_300)) == len(told) + 1


def test_who_looks_at_once_makes_one_alarm_and_one_notice(world: World) -> None:
    looked = at_once(*[sample_when_due] * 6)
    assert sorted(looked) == [False] * 5 + [True]
    assert Alarm.objects.count() == 1
    world._database.be_ahead(timedelta(seconds=40))
    looked = at_once(*[sample_when_due] * 6)
    assert sorted(looked) == [False] * 5 + [True]
    assert [notice.kind for notice in Notice.objects.all()] == ["begun"]


def test_a_silenced_alarm_is_told_when_the_silence_is_over(world: World) -> None:
    world.after()
    [alarm] = present().values()
    silence(alarm_id=alarm.id, duration=timedelta(hours=4), operator=OPS)
    assert world.after(hours=3.9) == []
    assert world.after(hours=0.2) == ["begun"]
    silence(alarm_id=alarm.id, duration=timedelta(days=1), operator=OPS)
    assert world.after(hours=5) == ["begun"]
    silence(alarm_id=alarm.id, duration=timedelta(), operator=OPS)
    assert world.after(seconds=10) == ["begun", "lasts"]
    acts = Act.objects.order_by("id").values_list("act", "result", "who", "why", "via")
    assert [act[1] for act in acts] == ["silenced", "silenced", "unsilenced"]
    assert acts[0] == ("silence", "silenced", "ops", "a planned stop", "python")


def test_the_end_of_a_silenced_alarm_is_told_to_those_who_knew_of_it(world: World) -> None:
    world.after()
    world.after(seconds=31)
    [alarm] = present().values()
    silence(alarm_id=alarm.id, duration=timedelta(hours=4), operator=OPS)
    world.relay_is(there=True)
    world.after(seconds=10)
    world.relay_is(there=True)
    assert world.after(seconds=40) == ["begun", "ended"]
    # It comes again: that is another alarm, which nobody has silenced.
    world.relay_is(there=False)
    world.after(seconds=10)
    assert world.after(seconds=40) == ["begun", "ended", "begun"]


def test_a_silence_needs_a_reason_an_alarm_and_an_end(world: World) -> None:
    world.after()
    [alarm] = present().values()
    with pytest.raises(NothingSaid):
        silence(alarm_id=alarm.id, duration=timedelta(hours=1), operator=Operator("ops"))
    with pytest.raises(RepairRefused, match="7 days"):
        silence(alarm_id=alarm.id, duration=timedelta(days=8), operator=OPS)
    with pytest.raises(NoSuchAlarm):
        silence(alarm_id=alarm.id + 1, duration=timedelta(hours=1), operator=OPS)
    world.relay_is(there=True)
    world.after(seconds=10)
    with pytest.raises(NoSuchAlarm):
        silence(alarm_id=alarm.id, duration=timedelta(hours=1), operator=OPS)
    assert not Act.objects.exists()


def test_the_moment_of_the_last_look_is_known(world: World) -> None:
    from outbox.alerts.checking import checked_at

    assert checked_at() is None
    world.after()
    checked = checked_at()
    assert checked is not None
    assert abs(checked - clock.now()) < timedelta(seconds=30)
    assert checked > datetime.now(UTC)  # by the database's clock, which is days ahead here


def test_a_terminal_says_what_is_wrong_and_ends_with_1(world: World) -> None:
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("alerts", "--send", stdout=out)
    assert ended.value.code == 1
    assert "CRITICAL since" in out.getvalue()
    assert "Start a relay: manage.py run_relay" in out.getvalue()
    assert "0 notices sent." in out.getvalue()
    world.relay_is(there=True)
    world.after(seconds=10)
    out = StringIO()
    call_command("alerts", stdout=out)
    assert out.getvalue().startswith("Nothing is wrong")
