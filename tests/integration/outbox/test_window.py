"""The snapshot cursor: every committed event once, a key in order, whatever transactions do meanwhile."""

import random
import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest
from django.db import connections, transaction

from outbox import publish
from outbox.keys import SHARDS
from outbox.models import OutboxEvent
from outbox.window import Cursor, OutboxRecord, Snapshot, open_window, read_page
from tests.engine import Noted, Writer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


EVERY_SHARD = list(range(SHARDS))


class Reader:
    """A relay without Kafka: it reads windows as the relay does."""

    def __init__(self) -> None:
        self.cursor = Cursor(Snapshot("3:3:"), None, 0)

    def page(self, *, limit: int = 1_000, size: int = 1_000_000) -> list[OutboxRecord]:
        if self.cursor.current is None:
            self.cursor = open_window(self.cursor, using="default")
        page = read_page(self.cursor, shards=EVERY_SHARD, limit=limit, size=size, using="default")
        self.cursor = self.cursor.after(page)
        return page.records

    def texts(self, *, limit: int = 1_000) -> list[str]:
        return [bytes(record.payload).decode() for record in self.page(limit=limit)]

    def names(self, *, limit: int = 1_000) -> list[tuple[str | None, int | None]]:
        return [(record.key, record.number) for record in self.page(limit=limit)]


@pytest.fixture
def reader() -> Reader:
    return Reader()


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
def test_pages_smaller_than_the_window_keep_to_its_frozen_end(
    reader: Reader, one: Writer, limit: int
) -> None:
    """What commits while a window is drained belongs to the next one, even below the page's position."""
    one.begin()
    one.publish("late")
    with transaction.atomic():
        for about in "abcde":
            publish(Noted(about=about))
    seen = reader.names(limit=limit)
    one.end()
    with transaction.atomic():
        publish(Noted(about="after"))
    while reader.cursor.current is not None:
        seen += reader.names(limit=limit)
    assert [key for key, _ in seen] == list("abcde")
    rest: list[tuple[str | None, int | None]] = []
    while page := reader.names(limit=limit):
        rest += page
    assert [key for key, _ in rest] == ["late", "after"]


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


def test_other_shards_are_left_to_their_relay(reader: Reader) -> None:
    with transaction.atomic():
        for number in range(50):
            publish(Noted(about=f"key-{number}"))
    cursor = open_window(reader.cursor, using="default")
    pages = [
        read_page(cursor, shards=[shard], limit=1_000, size=1_000_000, using="default")
        for shard in EVERY_SHARD
    ]
    assert all(page.records for page in pages)
    assert sum(len(page.records) for page in pages) == 50


def test_a_page_holds_about_its_size_in_bytes_and_one_event_at_least(reader: Reader) -> None:
    with transaction.atomic():
        for about, text in [("a", "x" * 600), ("b", "x" * 600), ("c", "x" * 5_000), ("d", ""), ("e", "")]:
            publish(Noted(about=about, text=text))
    pages = []
    while page := reader.page(size=1_000):
        pages.append("".join(record.key or "" for record in page))
    assert pages == ["ab", "c", "de"]


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
    while page := reader.page(limit=7):
        seen += page
    assert not failures
    committed = set(OutboxEvent.objects.values_list("id", flat=True))
    assert len(seen) == len(committed) > writers * rounds / 2
    assert {record.id for record in seen} == committed
    numbers: dict[str | None, list[int | None]] = defaultdict(list)
    for record in seen:
        numbers[record.key].append(record.number)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
