"""A rebuild that was asked for is carried out by whichever worker comes to it, in slices, and ends once."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction

from outbox import succession
from outbox.clearing import SoleBuilder
from outbox.errors import GenerationEnded, NotAProjection, NotAsShown, NothingToAbandon
from outbox.generations import generations_of
from outbox.models import Generation
from outbox.rebuild import Rebuild
from outbox.rebuild_requests import (
    give_up,
    go_on_with_rebuilds,
    half_built,
    mark,
    request_of,
    request_rebuild,
)
from outbox.registry import Consumer
from outbox.repair.acts import Operator, Via, acts_of
from tests.engine import until
from tests.integration.at_once import at_once
from tests.integration.outbox.test_rebuild import Tally, send_and_hear
from tests.integration.outbox.test_rebuild import tally as tally

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ANNA = Operator("anna", "counts were wrong", Via.DASHBOARD)


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all that reads the clock is one process."""
    monkeypatch.setattr("outbox.rebuild.CLOCKS", timedelta(0))


def acts(tally: Tally) -> list[tuple[str, str, str, str]]:
    rows = acts_of(tally.consumer.name, using="default")
    return list(rows.values_list("who", "via", "result", "why"))


def test_it_is_carried_out_once_however_often_it_is_asked_for(tally: Tally) -> None:
    send_and_hear(tally, *[tally.record(f"k{n}", "x", partition=n % 2) for n in range(7)])
    tally.spoil()
    asked = at_once(*[lambda: request_rebuild(consumer=tally.consumer, operator=ANNA)] * 3)
    assert sorted(asked) == [False, False, True]
    request = request_of(tally.consumer)
    assert request is not None
    assert (request.generation, request.told_at) == (2, None)
    assert tally.states() == [(1, "live"), (2, "building")]
    assert go_on_with_rebuilds() == 1
    assert tally.counts() == {"x": 7}
    assert tally.states() == [(2, "live")]
    assert request_of(tally.consumer) is None
    assert go_on_with_rebuilds() == 0
    assert tally.states() == [(2, "live")]
    assert acts(tally) == [
        ("anna", "dashboard", "begun", "counts were wrong"),
        ("anna", "dashboard", "rebuilt", "counts were wrong"),
    ]


@pytest.fixture
def built_before(tally: Tally) -> Tally:
    """One of which a generation other than the first is live."""
    send_and_hear(tally, tally.record("a", "x"))
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    assert go_on_with_rebuilds() == 1
    assert tally.states() == [(2, "live")]
    return tally


def meanwhile(first: Callable[[], object], second: Callable[[], object]) -> list[object]:
    """What both came to, where the second asks while the first has yet to commit."""
    done = threading.Event()

    def hold() -> object:
        with transaction.atomic():
            came = first()
            done.set()
            until(somebody_waits)
        return came

    def ask() -> object:
        assert done.wait(30)
        return second()

    return at_once(hold, ask)


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            # In a transaction pg_stat_activity stays as it was seen first.
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks WHERE"
            " database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        return bool(cursor.fetchone()[0])


def test_of_two_who_ask_at_once_one_begins_and_the_other_is_told_so(built_before: Tally) -> None:
    def ask() -> bool:
        return request_rebuild(consumer=built_before.consumer, operator=ANNA)

    assert meanwhile(ask, ask) == [True, False]
    assert built_before.states() == [(2, "live"), (3, "building")]


def test_who_was_shown_none_goes_on_with_no_generation_that_another_begins(built_before: Tally) -> None:
    """As a command does, which asks no worker."""
    consumer = built_before.consumer
    begun, refused = meanwhile(
        lambda: succession.begin(consumer),
        lambda: request_rebuild(consumer=consumer, operator=ANNA, shown=mark(None)),
    )
    assert begun == 3
    assert isinstance(refused, NotAsShown)
    assert request_of(consumer) is None


def test_of_two_who_give_up_and_ask_the_second_is_told_that_it_is_gone(built_before: Tally) -> None:
    consumer = built_before.consumer
    request_rebuild(consumer=consumer, operator=ANNA)
    shown = mark(half_built(consumer))
    given_up, refused = meanwhile(
        lambda: give_up(consumer=consumer, operator=ANNA, shown=shown),
        lambda: request_rebuild(consumer=consumer, operator=ANNA, shown=shown),
    )
    assert given_up == [3]
    assert isinstance(refused, NotAsShown)
    assert built_before.states() == [(2, "live"), (3, "abandoned")]


def test_a_slice_that_ends_is_gone_on_with_where_it_was(tally: Tally) -> None:
    send_and_hear(tally, *[tally.record(f"k{n}", "x", partition=n % 2) for n in range(6)])
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    tally.gate.clear()
    opener = threading.Timer(2.0, tally.gate.set)
    opener.start()
    assert go_on_with_rebuilds(seconds=1.0) == 0
    opener.join()
    request = request_of(tally.consumer)
    assert request is not None
    assert request.records == 6
    heard = tally.heard(generation=2)
    assert tally.states() == [(1, "live"), (2, "building")]
    assert go_on_with_rebuilds() == 1
    assert heard <= 6
    assert tally.counts() == {"x": 6}
    assert tally.states() == [(2, "live")]


def test_one_whose_worker_was_killed_after_the_swap_is_not_begun_again(tally: Tally) -> None:
    send_and_hear(tally, tally.record("a", "x"))
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    # As if it had been killed before it could say that it is over.
    assert Rebuild(tally.consumer, stop=threading.Event(), report=lambda _: None, generation=2).run()
    assert request_of(tally.consumer) is not None
    assert go_on_with_rebuilds() == 1
    assert tally.states() == [(2, "live")]
    assert request_of(tally.consumer) is None


def test_it_is_left_to_the_process_that_is_at_it(tally: Tally) -> None:
    send_and_hear(tally, tally.record("a", "x"))
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with SoleBuilder(tally.consumer):
            holding.set()
            let_go.wait(30)

    def try_it() -> int:
        holding.wait(30)
        try:
            return go_on_with_rebuilds()
        finally:
            let_go.set()

    assert at_once(hold, try_it)[1] == 0
    assert tally.states() == [(1, "live"), (2, "building")]
    assert go_on_with_rebuilds() == 1


def test_what_is_given_up_is_cleared_away_and_stays_given_up(tally: Tally) -> None:
    send_and_hear(tally, *[tally.record(f"k{n}", "x") for n in range(3)])
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    tally.gate.clear()
    threading.Timer(1.5, tally.gate.set).start()
    assert go_on_with_rebuilds(seconds=1.0) == 0
    shown = mark(half_built(tally.consumer))
    assert give_up(consumer=tally.consumer, operator=ANNA) == [2]
    # Asked for twice, it is one act.
    assert give_up(consumer=tally.consumer, operator=ANNA, shown=shown) == [2]
    with pytest.raises(NotAsShown, match="no generation is half built"):
        give_up(consumer=tally.consumer, operator=ANNA, shown="1 of another")
    assert go_on_with_rebuilds() == 1
    assert tally.counts(2) == {}
    assert tally.states() == [(1, "live")]
    assert [result for _, _, result, _ in acts(tally)] == ["begun", "abandoned"]
    assert go_on_with_rebuilds() == 0
    with pytest.raises(NothingToAbandon):
        give_up(consumer=tally.consumer, operator=ANNA)


def test_a_worker_does_not_revive_what_was_given_up_in_the_same_moment(tally: Tally) -> None:
    send_and_hear(tally, tally.record("a", "x"))
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    request = request_of(tally.consumer)
    give_up(consumer=tally.consumer, operator=ANNA)
    assert request is not None
    rebuild = Rebuild(
        tally.consumer, stop=threading.Event(), report=lambda _: None, generation=request.generation
    )
    with pytest.raises(GenerationEnded):
        rebuild.run()
    assert not Generation.objects.filter(consumer=tally.consumer.name, state="building").exists()


def test_what_nobody_but_an_operator_can_decide_stops_it_and_is_said(tally: Tally) -> None:
    send_and_hear(tally, tally.record("a", "x"))
    tally.publishes = True
    request_rebuild(consumer=tally.consumer, operator=ANNA)
    assert go_on_with_rebuilds() == 0
    request = request_of(tally.consumer)
    assert request is not None
    assert "was published in rebuilding" in request.error
    # Mended or not, it is not tried for ever; asked for again, it is.
    tally.publishes = False
    assert go_on_with_rebuilds() == 0
    assert request_rebuild(consumer=tally.consumer, operator=ANNA)
    assert go_on_with_rebuilds() == 1
    assert tally.states() == [(2, "live")]


def test_only_projections_are_built_again(tally: Tally) -> None:
    other = Consumer(name=f"{tally.consumer.name}-acts", sync_delay_limit=timedelta(seconds=5))
    with pytest.raises(NotAProjection):
        request_rebuild(consumer=other, operator=ANNA)
    assert generations_of(other) == [(1, "live")]
