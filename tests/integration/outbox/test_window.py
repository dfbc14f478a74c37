"""The snapshot cursor: every committed event once, a key in order, whatever transactions do meanwhile."""

import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction

import outbox
from outbox import opening, publish, window
from outbox.keys import SHARDS
from outbox.models import OutboxEvent
from outbox.opening import FEW, Opener
from outbox.window import Cursor, OutboxRecord, Snapshot, WindowPage, read_page, snapshot
from tests.engine import Noted, Writer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


EVERY_SHARD = list(range(SHARDS))


class Reader:
    """A relay without Kafka: it reads windows as the relay does.

    opens  have small windows come along with their end
    """

    def __init__(self, *, opens: bool = False) -> None:
        self.cursor = Cursor(Snapshot("3:3:"), None, 0)
        self.opener = Opener(size=1_000_000, using="default") if opens else None

    def page(self, *, limit: int = 1_000, size: int = 1_000_000) -> list[OutboxRecord]:
        if self.cursor.current is None:
            page = self._open()
            if page is not None:
                self.cursor = self.cursor.after(page)
                return page.records
        page = read_page(self.cursor, shards=EVERY_SHARD, limit=limit, size=size, using="default")
        self.cursor = self.cursor.after(page)
        return page.records

    def _open(self) -> WindowPage | None:
        if self.opener is None:
            now, page = snapshot(using="default"), None
        else:
            now, page = self.opener.open(self.cursor.previous, shards=EVERY_SHARD)
        self.cursor = replace(self.cursor, current=now)
        return page

    def rest(self, *, limit: int = 1_000, size: int = 1_000_000) -> list[list[OutboxRecord]]:
        """Page after page, until a window of its own has none."""
        pages = []
        while True:
            begun = self.cursor.current is not None
            if page := self.page(limit=limit, size=size):
                pages.append(page)
            elif not begun:
                return pages

    def texts(self, *, limit: int = 1_000) -> list[str]:
        return [bytes(record.payload).decode() for record in self.page(limit=limit)]

    def names(self, *, limit: int = 1_000) -> list[tuple[str | None, int | None]]:
        return [(record.key_text, record.number) for record in self.page(limit=limit)]


@pytest.fixture(autouse=True)
def _empty_pages(transactional_db: None) -> None:
    """Plans are chosen by the pages of a table too: other tests have deleted rows, and left these."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE outbox_event")


@pytest.fixture
def pager() -> Reader:
    return Reader()


@pytest.fixture(params=["opened", "by pages"])
def reader(request: pytest.FixtureRequest) -> Reader:
    return Reader(opens=request.param == "opened")


@pytest.fixture
def one() -> Iterator[Writer]:
    with Writer() as writer:
        yield writer


@pytest.fixture
def two() -> Iterator[Writer]:
    with Writer() as writer:
        yield writer


def test_a_held_transaction_is_read_after_its_commit(reader: Reader, one: Writer, two: Writer) -> None:
    one.begin()
    one.publish("held")
    two.begin()
    two.publish("quick")
    two.end()
    assert reader.names() == [("quick", 1)]
    one.end()
    assert reader.names() == [("held", 1)]
    assert reader.names() == []


def test_the_youngest_transaction_is_read_although_its_snapshot_did_not_list_it(
    reader: Reader, one: Writer
) -> None:
    """xmax is one past the last transaction that ended: the youngest open one is above it, not in xip."""
    one.begin()
    one.publish("alone")
    assert reader.names() == []
    one.end()
    assert reader.names() == [("alone", 1)]


def test_a_window_passes_over_many_transactions_still_open(reader: Reader, one: Writer, two: Writer) -> None:
    one.begin()
    one.publish("first")
    two.begin()
    two.publish("second")
    for about in ("a", "b", "c"):
        with transaction.atomic():
            publish(Noted(about=about))
        assert reader.names() == [(about, 1)]
    two.end()
    assert reader.names() == [("second", 1)]
    one.end()
    assert reader.names() == [("first", 1)]


def test_a_rolled_back_transaction_leaves_neither_event_nor_gap(reader: Reader, one: Writer) -> None:
    one.begin()
    one.publish("key")
    one.end(rollback=True)
    one.begin()
    one.publish("key")
    one.end()
    assert reader.names() == [("key", 1)]


def test_an_older_transaction_that_locks_the_key_later_comes_later(
    reader: Reader, one: Writer, two: Writer
) -> None:
    """The transaction id is given at the first write, not at the lock: ordering by it would be wrong."""
    one.begin()
    one.publish("other")
    two.begin()
    two.publish("key", "first")
    two.end()
    one.publish("key", "second")
    one.end()
    assert [name for name in reader.names() if name[0] == "key"] == [("key", 1), ("key", 2)]


def test_savepoints_released_are_read_and_rolled_back_are_not(reader: Reader, one: Writer) -> None:
    one.begin()
    one.publish("key", "outer")

    def inner(*, fail: bool) -> None:
        try:
            with transaction.atomic():
                publish(Noted(about="key", text="lost" if fail else "kept"))
                if fail:
                    raise RuntimeError
        except RuntimeError:
            pass

    one.call(lambda: inner(fail=True))
    one.call(lambda: inner(fail=False))
    assert reader.names() == []
    one.end()
    assert reader.names() == [("key", 1), ("key", 2)]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_smaller_than_the_window_keep_to_its_frozen_end(pager: Reader, one: Writer, limit: int) -> None:
    """What commits while a window is drained belongs to the next one, even below the page's position."""
    one.begin()
    one.publish("late")
    with transaction.atomic():
        for about in "abcde":
            publish(Noted(about=about))
    seen = pager.names(limit=limit)
    one.end()
    with transaction.atomic():
        publish(Noted(about="after"))
    while pager.cursor.current is not None:
        seen += pager.names(limit=limit)
    assert [key for key, _ in seen] == list("abcde")
    assert [record.key_text for page in pager.rest(limit=limit) for record in page] == ["late", "after"]


def test_a_late_event_and_a_new_one_of_the_next_window_come_by_position(
    reader: Reader, one: Writer, two: Writer
) -> None:
    one.begin()
    one.publish("late")
    two.begin()
    two.publish("quick")
    two.end()
    assert reader.names() == [("quick", 1)]
    with transaction.atomic():
        publish(Noted(about="new"))
    one.end()
    assert reader.names() == [("late", 1), ("new", 1)]


def test_other_shards_are_left_to_their_relay(pager: Reader) -> None:
    with transaction.atomic():
        for number in range(50):
            publish(Noted(about=f"key-{number}"))
    cursor = replace(pager.cursor, current=snapshot(using="default"))
    pages = [
        read_page(cursor, shards=[shard], limit=1_000, size=1_000_000, using="default")
        for shard in EVERY_SHARD
    ]
    assert all(page.records for page in pages)
    assert sum(len(page.records) for page in pages) == 50


def test_a_page_holds_about_its_size_in_bytes_and_one_event_at_least(pager: Reader) -> None:
    with transaction.atomic():
        for about, text in [("a", "x" * 600), ("b", "x" * 600), ("c", "x" * 5_000), ("d", ""), ("e", "")]:
            publish(Noted(about=about, text=text))
    pages = pager.rest(size=1_000)
    assert ["".join(record.key_text or "" for record in page) for page in pages] == ["ab", "c", "de"]


def test_many_writers_lose_and_reorder_nothing(reader: Reader) -> None:
    """Held, rolled back, nested and late transactions at random, read all the while in pages of 7."""
    writers, rounds, keys = 6, 40, [f"key-{number}" for number in range(5)]
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        chance = random.Random(seed)
        hold = threading.Event()
        try:
            for _ in range(rounds):
                with transaction.atomic():
                    if chance.random() < 0.5:
                        # An xid taken before the key's lock.
                        publish(Noted(about=f"own-{seed}"))
                    publish(Noted(about=chance.choice(keys)))
                    hold.wait(chance.choice([0, 0, 0.001, 0.02]))
                    if chance.random() < 0.2:
                        transaction.set_rollback(True)
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[OutboxRecord] = []
    while any(thread.is_alive() for thread in threads):
        seen += reader.page(limit=7)
    for page in reader.rest(limit=7):
        seen += page
    assert not failures
    committed = {str(event_id) for event_id in OutboxEvent.objects.values_list("id", flat=True)}
    assert len(seen) == len(committed) > writers * rounds / 2
    assert {record.id.decode() for record in seen} == committed
    numbers: dict[str | None, list[int | None]] = defaultdict(list)
    for record in seen:
        numbers[record.key_text].append(record.number)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


def fill(count: int, *, prefix: str = "k", text: str = "") -> None:
    """So many events in a transaction of their own, or in the one under way."""
    with outbox.atomic():
        for number in range(count):
            publish(Noted(about=f"{prefix}-{number % 10}", text=text))


def plan_of(monkeypatch: pytest.MonkeyPatch, read: Callable[[], object]) -> list[dict[str, Any]]:
    """The plans of the statements that read pages, executed."""
    plans: list[dict[str, Any]] = []

    def explain(query: str, parameters: dict[str, Any], *, using: str, prepare: bool = False) -> Any:
        [(found,)] = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters, using=using, prepare=prepare)
        plans.append(found[0]["Plan"])
        return rows(query, parameters, using=using, prepare=prepare)

    rows = window.fetch
    with monkeypatch.context() as patch:
        patch.setattr(window, "fetch", explain)
        patch.setattr(opening, "fetch", explain)
        read()
    return plans


def rows_read(plan: dict[str, Any]) -> int:
    """The rows of the table that a plan's scans came across, those that they threw away included."""
    own = 0
    if "Relation Name" in plan:
        thrown = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = int((plan["Actual Rows"] + thrown) * plan["Actual Loops"])
    return own + sum(rows_read(child) for child in plan.get("Plans", []))


def test_an_empty_window_reads_none_of_the_rows_that_were_sent(
    pager: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(3_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_event")
    pager.rest()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")  # the snapshot moves on
    [plan] = plan_of(monkeypatch, pager.page)
    assert rows_read(plan) == 0


def test_each_row_of_a_window_is_looked_at_about_once_after_its_first_page(
    pager: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(2_000, prefix="old")
    pager.rest()
    fill(2_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_event")
    pager.page(limit=100)
    plans = plan_of(monkeypatch, lambda: pager.rest(limit=100))
    pages = [plan for plan in plans if '"Limit"' in json.dumps(plan)]
    assert len(pages) == 20
    assert sum(map(rows_read, pages)) <= 2_100


def test_a_late_transaction_of_many_rows_far_below_the_others_is_read_page_by_page(
    pager: Reader, one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between it and the window's other rows lie those that were sent meanwhile: they are not looked at."""
    one.begin()
    one.call(lambda: fill(300, prefix="late"))
    fill(2_000, prefix="sent")
    assert len(pager.rest()) == 2
    fill(50, prefix="new")
    one.end()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_event")
    seen: list[OutboxRecord] = []
    plans = plan_of(monkeypatch, lambda: seen.extend(row for page in pager.rest(limit=100) for row in page))
    assert [str(row.key_text).partition("-")[0] for row in seen] == ["late"] * 300 + ["new"] * 50
    assert [row.position for row in seen] == sorted(row.position for row in seen)
    assert sum(map(rows_read, plans)) < 1_500


def test_a_relay_that_begins_in_the_midst_of_a_window_finds_the_rest_of_it(
    pager: Reader, one: Writer
) -> None:
    one.begin()
    one.call(lambda: fill(30, prefix="late"))
    fill(10, prefix="sent")
    pager.rest()
    fill(30, prefix="new")
    one.end()
    seen = pager.page(limit=20)
    pager.cursor = Cursor(pager.cursor.previous, pager.cursor.current, pager.cursor.position)
    seen += [row for page in pager.rest(limit=20) for row in page]
    assert [str(row.key_text).partition("-")[0] for row in seen] == ["late"] * 30 + ["new"] * 30


def test_what_is_opened_is_of_ones_own_shards() -> None:
    with transaction.atomic():
        for number in range(50):
            publish(Noted(about=f"key-{number}"))
    opener = Opener(size=1_000_000, using="default")
    pages = [opener.open(Snapshot("3:3:"), shards=[shard])[1] for shard in EVERY_SHARD]
    assert all(page is not None and page.records for page in pages)
    assert sum(len(page.records) for page in pages if page is not None) == 50


@pytest.mark.parametrize("late", [False, True])
def test_a_large_window_is_opened_without_its_rows(one: Writer, *, late: bool) -> None:
    """Large in rows or in bytes, whether they are new or come late."""
    opener, previous = Opener(size=10_000, using="default"), Snapshot("3:3:")
    for count, text, few in [(FEW, "", True), (FEW + 1, "", False), (11, "x" * 1_000, False)]:
        one.begin()
        one.publish("first", text)
        if late:
            fill(1, prefix="quick")
            previous, _ = opener.open(previous, shards=EVERY_SHARD)
        one.call(partial(fill, count - 1, text=text))
        one.end()
        now, page = opener.open(previous, shards=EVERY_SHARD)
        assert (page is not None and len(page.records) == count) if few else page is None
        previous = now


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_opening_looks_at_no_row_that_was_sent_or_is_yet_to_be_committed(one: Writer, mode: str) -> None:
    """Whether its plan is made for these parameters or for any, as that of a prepared question is."""
    fill(3_000)
    one.begin()
    one.call(lambda: fill(2_000, prefix="open"))
    fill(1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_event")
    reader = Reader(opens=True)
    reader.rest()
    fill(5, prefix="new")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = {mode}")
        before = entries_read()
        assert len(reader.page()) == 5
        assert entries_read() - before == 5
        assert reader.page() == []
        assert entries_read() - before == 5


def entries_read() -> int:
    """Rows and index entries that this transaction has come across, visible or not, in all partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_tuples_returned(one.oid)) FROM pg_class AS one"
            " LEFT JOIN pg_index ON indexrelid = one.oid JOIN pg_partition_tree('outbox_event') AS part"
            " ON part.relid = coalesce(indrelid, one.oid)"
        )
        return int(cursor.fetchone()[0])


def test_a_prepared_transaction_is_read_once_it_commits(reader: Reader, one: Writer) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_prepared_transactions")
        assert int(cursor.fetchone()[0]) > 0
    one.begin()
    one.publish("prepared")
    one.execute("PREPARE TRANSACTION 'held'")
    fill(1, prefix="quick")
    try:
        assert reader.names() == [("quick-0", 1)]
        assert reader.names() == []
    finally:
        with connection.cursor() as cursor:
            cursor.execute("COMMIT PREPARED 'held'")
    assert reader.names() == [("prepared", 1)]
