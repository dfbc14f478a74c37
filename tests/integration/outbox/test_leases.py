"""Relays share the shards: fairly, by the database's clock, and never two of them one."""

from datetime import datetime

import pytest
from django.db import DatabaseError, OperationalError, connection, connections, transaction

from outbox.errors import LeaseLost, RestoredDatabase
from outbox.keys import SHARDS
from outbox.lease import Heartbeat, Leases
from outbox.relay_models import RelayMember, Shard
from outbox.window import Cursor, Snapshot
from tests.engine import Writer, until

pytestmark = pytest.mark.django_db(transaction=True)


def member(*, seconds: float = 60.0) -> Leases:
    leases = Leases(using="default", seconds=seconds)
    leases.beat()
    return leases


def settle(*members: Leases) -> list[int]:
    """Until nobody has anything to give or to take; how many shards each has."""
    cursors: dict[int, Cursor] = {}
    while True:
        still = True
        for one in members:
            imbalance = one.look()
            if imbalance.spare:
                spare = one.shards[-imbalance.spare :]
                one.give({Cursor(Snapshot("7:7:"), None, 0): spare})
            if imbalance.take:
                taken = one.take(imbalance.take)
                cursors |= {shard: cursor for cursor, shards in taken.items() for shard in shards}
            still = still and not imbalance
        if still:
            held = [shard for one in members for shard in one.shards]
            assert sorted(held) == list(range(SHARDS))
            return [len(one.shards) for one in members]


def test_one_has_all_and_two_have_half_each() -> None:
    first = member()
    assert settle(first) == [8]
    second = member()
    assert settle(first, second) == [4, 4]
    first.leave()
    assert settle(second) == [8]


@pytest.mark.parametrize("count", [3, 5, 8, 9])
def test_any_number_share_fairly(count: int) -> None:
    shares = settle(*[member() for _ in range(count)])
    assert sum(shares) == SHARDS
    assert max(shares) - min(shares) <= 1


def test_who_takes_over_goes_on_where_the_other_has_come() -> None:
    first, second = member(), member()
    here = Cursor(Snapshot("100:100:"), Snapshot("200:205:201"), 17)
    first.take(2)
    first.give({here: [0, 1]})
    taken = second.take(4)
    assert taken[here] == [0, 1]
    assert sorted(shard for shards in taken.values() for shard in shards) == [0, 1, 2, 3]


def test_nothing_is_taken_from_one_that_lives_and_all_from_one_that_does_not() -> None:
    first, second = member(), member()
    first.take(8)
    assert second.look().take == 0
    assert second.take(8) == {}
    RelayMember.objects.filter(owner=first.owner).update(expires_at="2020-01-01T00:00Z")
    Shard.objects.update(expires_at="2020-01-01T00:00Z")
    assert second.look().take == 8
    second.take(8)
    assert second.shards == list(range(8))


def test_one_that_wakes_late_notices_and_stores_nothing() -> None:
    late, other = member(), member()
    [(cursor, _)] = late.take(8).items()
    Shard.objects.filter(shard=3).update(expires_at="2020-01-01T00:00Z")
    other.take(8)
    assert other.shards == [3]
    with pytest.raises(LeaseLost):
        late.look()
    with pytest.raises(LeaseLost):
        late.store(cursor, [2, 3])
    assert set(Shard.objects.values_list("position", flat=True)) == {0}
    late.store(cursor, [2])


def test_one_that_was_away_for_a_moment_takes_its_own_again() -> None:
    one = member()
    one.take(8)
    epochs = dict(Shard.objects.values_list("shard", "epoch"))
    one.begin_again()
    assert one.look().take == 8
    one.take(8)
    assert all(epoch > epochs[shard] for shard, epoch in Shard.objects.values_list("shard", "epoch"))


def test_what_was_held_before_a_failure_is_anyones() -> None:
    """And nothing is renewed that is not held: it would be nobody's for ever."""
    first = member()
    first.take(8)
    second = member()
    first.begin_again()
    assert settle(first, second) == [4, 4]
    lost = second.shards[0]
    Shard.objects.filter(shard=lost).update(owner=first.owner)
    assert not Shard.objects.filter(shard=lost, expires_at__gt=_beaten(first)).exists()
    assert Shard.objects.filter(shard__in=first.shards, expires_at__gt=_beaten(first)).count() == 4


def _beaten(one: Leases) -> datetime:
    """When the leases ended before this heartbeat."""
    ends = [end for end in Shard.objects.values_list("expires_at", flat=True) if end is not None]
    one.beat()
    return max(ends)


def test_who_waits_for_a_row_of_a_frozen_one_gives_up() -> None:
    """Before it stores its cursor, too: what it has written by then may be waited for."""
    with Writer() as frozen:
        frozen.begin()
        frozen.execute("UPDATE outbox_relay SET expires_at = now()")
        other = member(seconds=0.3)
        frozen.execute(f"UPDATE outbox_relay SET expires_at = now() WHERE owner = '{other.owner}'")
        with pytest.raises(OperationalError), transaction.atomic():
            other.guard()
            other.beat()


def test_a_table_emptied_by_hand_is_filled_again() -> None:
    Shard.objects.all().delete()
    one = member()
    assert one.look().take == SHARDS
    [(cursor, shards)] = one.take(SHARDS).items()
    assert (cursor, sorted(shards)) == (Cursor(Snapshot("3:3:"), None, 0), list(range(SHARDS)))


def test_a_cursor_ahead_of_the_database_is_refused() -> None:
    one = member()
    one.take(SHARDS)
    Shard.objects.filter(shard=5).update(previous="900000000:900000000:")
    with pytest.raises(RestoredDatabase):
        one.look()


def test_the_heartbeat_holds_on_for_as_long_as_it_beats() -> None:
    one = Leases(using="default", seconds=0.3)
    with Heartbeat(one):
        one.take(8)
        seen: set[object] = set()
        until(lambda: seen.add(_expiry()) or len(seen) > 3)  # type: ignore[func-returns-value]
    until(lambda: _live() == 0)


def _expiry() -> object:
    return Shard.objects.values_list("expires_at", flat=True)[0]


def _live() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM outbox_shard WHERE expires_at > clock_timestamp()")
        [(count,)] = cursor.fetchall()
    return int(count)


def test_looking_writes_nothing() -> None:
    one = member()
    one.take(8)
    stored = list(Shard.objects.order_by("shard").values())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id_if_assigned()")
    for _ in range(3):
        assert not one.look()
    assert list(Shard.objects.order_by("shard").values()) == stored


def test_one_that_was_frozen_before_its_commit_keeps_nobody_waiting() -> None:
    """Its transaction holds the rows; the server ends it."""
    with Writer() as frozen:
        late = frozen.call(lambda: member(seconds=0.3))
        [(cursor, shards)] = frozen.call(lambda: late.take(8)).items()
        frozen.begin()
        frozen.call(late.guard)
        frozen.call(lambda: late.store(cursor, shards))
        other = member()
        until(lambda: other.take(8) and len(other.shards) == SHARDS)
        with pytest.raises(DatabaseError):
            frozen.call(lambda: late.store(cursor, shards))
        frozen.call(connections.close_all)
