"""The figures, read from real tables."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from dashboard import selectors
from dashboard.behind import all_behind
from dashboard.formats import Bounded
from dashboard.latest import latest_events
from outbox.ids import new_id
from outbox.models import Generation, GenerationState, OutboxEvent
from outbox.unpublished import unpublished
from tests.integration.dashboard.conftest import Pay

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def now() -> datetime:
    return datetime.now(UTC)


def process(
    event_id: UUID,
    *,
    consumer: str = "orders",
    outcome: str = "processed",
    delay: timedelta = SECOND,
    at: datetime | None = None,
) -> None:
    """An inbox row as a consumer writes it."""
    at = at or now()
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", type,'
            " outcome, occurred_at, processed_at) VALUES (%s, %s, 1, 'payments', 0, 0, 't', %s, %s, %s)",
            [event_id, consumer, outcome, at - delay, at],
        )


def send_all() -> None:
    """Move the relays' cursors past everything that is committed now, and all that this transaction wrote."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_shard SET position = 0,"
            " previous = (pg_current_xact_id()::text::bigint + 1 || ':' ||"
            " pg_current_xact_id()::text::bigint + 1 || ':')::pg_snapshot"
        )


def test_the_rate_is_what_was_written_by_topic(first: User, pay: Pay) -> None:
    before = now()
    for _ in range(3):
        pay(first)
    told = selectors.written(now=now(), since=before)
    assert told.per_second == {"payments": pytest.approx(0.6)}
    assert told.fresh == {"payments": 6}
    later = now() + selectors.RATE_WINDOW + SECOND
    assert selectors.written(now=later, since=later).per_second == {}


def test_the_rate_is_right_where_the_limit_cuts_the_window(
    first: User, pay: Pay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        pay(first)
    monkeypatch.setattr(selectors, "SAMPLE_ROWS", 4)
    # Four events within a tenth of a second at most, not four in ten seconds.
    assert selectors.written(now=now(), since=now()).per_second["payments"] > 4


def test_the_backlog_is_what_no_relay_has_moved_past(first: User, pay: Pay) -> None:
    assert selectors.backlog() == (Bounded(0), {})
    pay(first)
    waiting, oldest = selectors.backlog()
    assert waiting.count == 2
    assert set(oldest) == {"payments"}
    assert now() - 8 * SECOND < oldest["payments"].happened_at <= oldest["payments"].waits_since <= now()
    send_all()
    assert selectors.backlog() == (Bounded(0), {})


def test_the_backlog_within_a_window_is_what_stands_behind_its_position(first: User, pay: Pay) -> None:
    for _ in range(3):
        pay(first)
    middle = OutboxEvent.objects.order_by("position")[3].position
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_shard SET position = %s", [middle])
    assert selectors.backlog()[0].count == 2


def test_the_backlog_names_transactions_that_a_snapshot_had_left_open(first: User, pay: Pay) -> None:
    pay(first)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_shard SET previous = (pg_current_xact_id()::text || ':' ||"
            " (pg_current_xact_id()::text::bigint + 5) || ':' || pg_current_xact_id()::text)::pg_snapshot"
        )
    assert selectors.backlog()[0].count == 2


def test_a_backlog_is_counted_to_its_limit(first: User, pay: Pay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "COUNT_LIMIT", 3)
    for _ in range(2):
        pay(first)
    waiting, _ = selectors.backlog()
    assert (waiting.count, waiting.more) == (3, True)


def test_however_many_wait_behind_one_cursor_the_first_behind_each_other_one_is_seen(
    first: User, pay: Pay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.unpublished.AT_LEAST", 1)
    for _ in range(20):
        pay(first)
    middle = OutboxEvent.objects.order_by("position")[10].position
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_shard SET position = %s - shard", [middle])
    found = unpublished(limit=1)
    shards = OutboxEvent.objects.filter(position__gt=middle).values_list("shard", flat=True)
    assert len(found) > 1
    told = OutboxEvent.objects.filter(id__in=[event.id for event in found])
    assert set(told.values_list("shard", flat=True)) >= set(shards)


def test_the_relays_delay_is_from_the_events_id_to_its_publication() -> None:
    start = now()
    with connection.cursor() as cursor:
        for waited in (1, 2, 30):
            cursor.execute(
                'INSERT INTO outbox_publication (event_id, partition, "offset", published_at)'
                " VALUES (%s, 0, 0, %s)",
                [new_id(start - waited * SECOND), start],
            )
        cursor.execute(
            "UPDATE outbox_shard SET owner = 'a relay', expires_at = now() + interval '5 s' WHERE shard < 3"
        )
    told = selectors.relay_state(now=start)
    assert (told.leased, told.shards) == (3, 8)
    assert told.delays.p50 is not None
    assert round(told.delays.p50.total_seconds()) == 2
    assert told.per_second == pytest.approx(0.3)


def test_events_that_went_late_are_told_with_how_late_they_went() -> None:
    start = now()
    with connection.cursor() as cursor:
        for number in range(20):
            cursor.execute(
                "INSERT INTO outbox_publication VALUES (%s, 0, %s, %s)",
                [new_id(start - timedelta(hours=1)), number, start - SECOND],
            )
    told = selectors.relay_state(now=start)
    assert told.delays.p50 is not None
    assert told.delays.p50 >= timedelta(minutes=59)
    assert told.per_second == pytest.approx(2.0)
    assert selectors.relay_state(now=start + 2 * selectors.DELAY_WINDOW).delays == selectors.Delays()


def test_a_consumers_delay_is_from_the_fact_to_its_effect() -> None:
    start = now()
    for delay in (1, 2, 3, 90):
        process(new_id(start), delay=delay * SECOND)
    process(new_id(start), outcome="unhandled", delay=900 * SECOND)
    process(new_id(start), delay=800 * SECOND, at=start - 30 * SECOND)
    process(new_id(start), consumer="loyalty", delay=SECOND, at=start - 30 * SECOND)
    told = selectors.processed(now=now(), since=start)
    assert told["orders"].per_second == pytest.approx(0.5)
    assert told["orders"].delays == selectors.Delays(2 * SECOND, 90 * SECOND)
    # Half a minute ago: a delay still worth telling, but no rate.
    assert told["loyalty"].per_second == 0
    assert told["loyalty"].delays.p50 == SECOND


def test_a_quiet_consumer_is_told_beside_a_busy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "CONSUMER_ROWS", 8)
    start = now()
    process(new_id(start), consumer="loyalty", at=start - 5 * SECOND)
    for number in range(20):
        process(new_id(start), consumer="orders", at=start - number * timedelta(milliseconds=10))
    told = selectors.processed(now=start, since=start - SECOND)
    assert told["loyalty"].per_second == pytest.approx(0.1)
    # Eight in the last tenth of a second at most, not eight in ten seconds.
    assert told["orders"].per_second == pytest.approx(80.0)
    assert told["analytics"].per_second == 0


def test_a_rate_is_unknown_where_what_is_read_again_fills_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selectors, "CONSUMER_ROWS", 8)
    start = now()
    Generation.objects.create(consumer="orders", generation=1, state=GenerationState.BUILDING)
    for number in range(20):
        process(new_id(start), consumer="orders", at=start - number * timedelta(milliseconds=10))
    assert selectors.processed(now=start, since=start - SECOND)["orders"].per_second is None
    long_ago = start + selectors.RATE_WINDOW + SECOND
    assert selectors.processed(now=long_ago, since=start)["orders"].per_second == 0


def test_a_topic_that_is_not_seen_is_unknown_where_the_limit_cuts_the_window(
    first: User, pay: Pay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        pay(first)
    assert selectors.written(now=now(), since=now()).rate_of("orders") == 0
    monkeypatch.setattr(selectors, "SAMPLE_ROWS", 4)
    told = selectors.written(now=now(), since=now())
    assert told.rate_of("orders") is None
    assert told.rate_of("payments")


def test_letters_and_parked_keys_are_told_by_consumer() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_parked_key (consumer, generation, topic, key, cause, event_id)"
            " SELECT 'orders', 1, 'payments', n::text, 'gap', gen_random_uuid() FROM generate_series(1, 3) n"
        )
    aside = selectors.standing_aside()
    assert aside["orders"] == (Bounded(3), Bounded(0))
    assert aside["loyalty"] == (Bounded(0), Bounded(0))


def test_the_latest_events_are_everyones_in_three_queries(first: User, second: User, pay: Pay) -> None:
    for merchant in (first, second, first):
        pay(merchant)
    with CaptureQueriesContext(connection) as asked:
        told = latest_events()
    assert len(asked) == 3
    assert [trace.event.id for trace in told] == list(
        OutboxEvent.objects.order_by("-id").values_list("id", flat=True)
    )
    assert len(told) == 6


def test_no_payload_is_read_for_a_table(first: User, pay: Pay) -> None:
    pay(first)
    [trace, *_] = latest_events()
    assert "payload" in trace.event.get_deferred_fields()


def fill(count: int, *, owners: int = 20) -> None:
    """Events of this week, for which there is a partition; sent and processed long ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO outbox_event (id, shard, topic, key, number, type, source, occurred_at,
                correlation_id, content_type, payload, owner)
            SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
                    || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,
                n %% 8, 'payments', 'key ' || n, 1, 'tests.Filled.v1', '/tests', at, gen_random_uuid(),
                'application/json', '{}', 'owner ' || n %% %(owners)s
            FROM (SELECT n, week + (now() - interval '2 minutes' - week) * n / %(count)s AS at
                FROM generate_series(1, %(count)s) n, date_trunc('week', now(), 'UTC') week) filled
            """,
            {"count": count, "owners": owners},
        )
        cursor.execute("INSERT INTO outbox_publication SELECT id, 0, position, occurred_at FROM outbox_event")
        cursor.execute(
            'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", type,'
            " outcome, occurred_at, processed_at) SELECT id, consumer, 1, topic, 0, position, type,"
            " 'processed', occurred_at, occurred_at"
            " FROM outbox_event, (VALUES ('orders'), ('loyalty')) consumers (consumer)"
        )
        send_all()
        cursor.execute("ANALYZE outbox_event, outbox_publication, outbox_inbox, outbox_shard")


def test_no_query_reads_what_it_does_not_tell(first: User, pay: Pay) -> None:
    """At any size: the sampler's queries touch the rows they answer with, and hardly one beside them."""
    fill(20_000)
    pay(first)
    start = now() - SECOND
    with CaptureQueriesContext(connection) as captured:
        selectors.written(now=now(), since=start)
        selectors.backlog()
        selectors.relay_state(now=now())
        selectors.processed(now=now(), since=start)
        selectors.standing_aside()
        selectors.refused()
        all_behind(now=now(), unsent={})
        latest_events()
    assert len(captured) >= 10
    for query in captured.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + query["sql"].replace("%", "%%"), [])
            plan = "\n".join(line for (line,) in cursor.fetchall())
        read = [int(float(rows)) for rows in re.findall(r"actual rows=([0-9.]+)", plan)]
        wasted = [int(rows) for rows in re.findall(r"Rows Removed by Filter: ([0-9]+)", plan)]
        assert max([*read, *wasted]) < 200, plan
