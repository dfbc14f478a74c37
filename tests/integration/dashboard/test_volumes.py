"""Volumes: what the page shows to whom, what its address may ask, how closed slots reach who watches."""

import asyncio
import itertools
import json
import re
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import User
from accounts.services import ensure_user
from analytics.models import EVERYONE, Slot
from analytics.services import Occurrence, add_to_slots
from analytics.slots import WIDTHS, floor
from contracts.analytics import SlotTotalled, StatusTotal
from dashboard.volumes import Question, Row
from dashboard.volumes_changes import Change, TableProbe
from dashboard.volumes_live import LiveVolumes, Told
from dashboard.volumes_page import VolumesForm
from dashboard.volumes_stream import volumes_message
from dashboard.volumes_topic import TotalsProbe, total_in
from outbox.config import config
from outbox.kafka import Cluster, Record
from tests.engine import record_of, send
from tests.integration.dashboard.conftest import browser_of

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
T = TypeVar("T")


def count(
    merchant_id: uuid.UUID,
    *,
    at: datetime,
    currency: str = "EUR",
    status: str = "validated",
    minor: int = 1_250,
) -> None:
    one = Occurrence(merchant_id=merchant_id, currency=currency, status=status, amount_minor=minor, at=at)
    add_to_slots(occurrences=[one], generation=1)


def shown(user: User, **asked: str) -> list[tuple[str, ...]]:
    """The table's rows: currency, status, count, amount, whether so far."""
    answer = browser_of(user).get(reverse("volumes"), asked)
    assert answer.status_code == 200, answer.content
    return rows_in(answer.content.decode())


def rows_in(html: str) -> list[tuple[str, ...]]:
    found = re.findall(
        r'<tr id="v-\d+-\w+-\w+" data-slot="\d+" data-currency="(\w+)" data-status="(\w+)" data-count="(\d+)"'
        r' data-amount="([\d.]+)"( data-open="true")?',
        html,
    )
    return [(*row[:4], "so far" if row[4] else "") for row in found]


def test_each_sees_what_it_may(first: User, second: User, viewer: User, staff: User, db: None) -> None:
    now = datetime.now(UTC)
    earlier = floor(now, MINUTE) - 2 * MINUTE
    count(first.id, at=earlier)
    count(second.id, at=earlier, minor=100)
    count(second.id, at=earlier, currency="JPY", minor=7)
    assert shown(first) == [("EUR", "validated", "1", "12.50", "")]
    assert shown(second) == [("EUR", "validated", "1", "1.00", ""), ("JPY", "validated", "1", "7", "")]
    for everyone in (viewer, staff):
        assert shown(everyone) == [("EUR", "validated", "2", "13.50", ""), ("JPY", "validated", "1", "7", "")]


def test_the_open_slot_is_so_far(first: User) -> None:
    now = datetime.now(UTC)
    count(first.id, at=now)
    count(first.id, at=now - timedelta(days=1))
    [latest, earlier] = shown(first, slot="1d", tz="UTC")
    assert (latest[4], earlier[4]) == ("so far", "")


def test_the_address_asks(first: User) -> None:
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    count(first.id, at=noon)
    count(first.id, at=noon, currency="JPY", status="refunded")
    asked = {"slot": "1d", "tz": "Europe/Berlin", "from": "2026-03-28", "to": "2026-03-31"}
    assert [row[0] for row in shown(first, **asked)] == ["EUR", "JPY"]
    assert [row[0] for row in shown(first, **asked, currency="JPY")] == ["JPY"]
    assert [row[0] for row in shown(first, **asked, status="validated")] == ["EUR"]
    page = browser_of(first).get(reverse("volumes"), asked).content.decode()
    # That day is an hour shorter there, and begins at 23:00 of UTC.
    assert f'data-slot="{int(datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp())}"' in page
    assert "Sun 29 Mar 2026" in page
    assert "data-stream" not in page
    csv = re.search(r'href="(/api/analytics[^"]*)"', page)
    assert csv is not None
    answer = browser_of(first).get(csv[1].replace("&amp;", "&"))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "2026-03-29T00:00:00+01:00,EUR,validated,1,12.50" in answer.content.decode()


def test_the_viewers_zone_is_the_default(first: User) -> None:
    client = browser_of(first)
    for cookie, zone in (
        ("Asia%2FTokyo", "Asia/Tokyo"),
        ("Nowhere/Land", "UTC"),
        ("", "UTC"),
        ("../etc", "UTC"),
    ):
        client.cookies["zone"] = cookie
        assert f"times of {zone}" in client.get(reverse("volumes")).content.decode()


@pytest.mark.parametrize(
    "asked",
    [
        {"slot": "2m"},
        {"slot": "15m"},
        {"tz": "Nowhere/Land"},
        {"tz": "<script>"},
        {"currency": "XXX"},
        {"status": "lost"},
        {"from": "yesterday"},
        {"from": "2026-01-02", "to": "2026-01-01"},
        {"slot": "1m", "from": "2020-01-01", "to": "2026-01-01"},
        {"slot": "1m", "from": "2026-01-01T00:00", "to": "2026-01-01T07:00"},
        {"slot": "1d", "from": "0001-01-01", "to": "9999-01-01"},
        {"from": "9" * 41},
        {"to": "\x00"},
    ],
)
def test_what_is_wrong_with_the_address_is_said(first: User, asked: dict[str, str]) -> None:
    answer = browser_of(first).get(reverse("volumes"), asked)
    assert answer.status_code == 400
    page = answer.content.decode()
    assert 'class="errors body" role="alert"' in page
    assert "<script>" not in page
    assert browser_of(first).get(reverse("volumes-stream"), asked).status_code == 400


def test_a_page_that_would_be_too_long_says_so(first: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.volumes_page.MOST_ROWS", 2)
    at = floor(datetime.now(UTC), MINUTE)
    for number in range(1, 5):
        count(first.id, at=at - number * MINUTE, minor=number)
    page = browser_of(first).get(reverse("volumes")).content.decode()
    assert [row[3] for row in rows_in(page)] == ["0.01", "0.02"]
    assert "2 before them are in the CSV" in page


# Live


class Script(TotalsProbe):
    """Totals as a test gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.next: list[SlotTotalled] = []

    def measure(self) -> list[SlotTotalled]:
        given, self.next = self.next, []
        return given


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    def run() -> T:
        try:
            return work(*arguments)
        finally:
            connection.close()

    return await sync_to_async(run)()


@pytest.fixture
async def script(transactional_db: None) -> Script:
    return Script()


@pytest.fixture
async def live(script: Script) -> AsyncIterator[LiveVolumes]:
    live = LiveVolumes(totals=lambda: script, interval=0.05)
    yield live
    assert not live.running
    await in_thread(Slot.objects.all().delete)


async def first_that(moments: Any, condition: Callable[[Told], bool]) -> Told:
    async with asyncio.timeout(20):
        async for told in moments:
            if condition(told):
                return told  # type: ignore[no-any-return]
    raise AssertionError("it ended")


def total(start: datetime, *, slot: Any = "1m", currency: str = "EUR", **counts: int) -> SlotTotalled:
    totals = tuple(
        StatusTotal(status=status, count=count, amount_minor=count * 100)  # type: ignore[arg-type]
        for status, count in counts.items()
    )
    return SlotTotalled(slot=slot, slot_start=start, currency=currency, totals=totals)


def said(told: Told, question: Question) -> dict[str, Any]:
    message = volumes_message(told, question).split("data: ", 1)[1]
    data: dict[str, Any] = json.loads(message)
    return data


async def test_what_closed_comes_from_the_topic_and_what_is_open_from_the_table(
    live: LiveVolumes, script: Script
) -> None:
    closed = floor(datetime.now(UTC), MINUTE) - MINUTE
    question = Question("1m", "UTC", None)
    await in_thread(lambda: count(uuid.uuid4(), at=datetime.now(UTC) + timedelta(seconds=0)))
    async with aclosing(live.watch(question)) as moments:
        await first_that(moments, lambda told: bool(told.changes.get(question)))
        script.next = [total(closed, validated=2), total(closed, validated=3, refunded=1)]
        told = await first_that(
            moments, lambda told: question in told.changes and len(told.changes[question].rows) >= 2
        )
    message = said(told, question)
    # Told twice, the last counts; and of that slot there are no other rows.
    assert ("EUR", "validated", "3", "3.00", "") in rows_in(message["html"])
    assert ("EUR", "validated", "2", "2.00", "") not in rows_in(message["html"])
    assert [int(closed.timestamp()), "EUR"] in message["whole"]
    assert message["slots"][-1] >= int(closed.timestamp())
    assert message["away"] is None


async def test_merchants_and_other_zones_are_told_from_the_table(live: LiveVolumes, script: Script) -> None:
    merchant = uuid.uuid4()
    now = datetime.now(UTC)
    closed = floor(now, MINUTE) - MINUTE
    await in_thread(lambda: count(merchant, at=closed, minor=700))
    await in_thread(lambda: count(uuid.uuid4(), at=closed, minor=999))
    own = Question("1m", "UTC", merchant)
    day = Question("1d", "Asia/Kolkata", None)
    async with aclosing(live.watch(own)) as mine, aclosing(live.watch(day)) as days:
        script.next = [total(closed, validated=500)]
        told = await first_that(mine, lambda told: own in told.changes and bool(told.changes[own].rows))
        assert {row.amount for row in told.changes[own].rows if row.start == closed} == {"7.00"}
        assert told.changes[own].whole == []
        told = await first_that(days, lambda told: day in told.changes and bool(told.changes[day].rows))
        assert {row.amount for row in told.changes[day].rows} == {"16.99"}


async def test_filters_hold_for_what_is_told(live: LiveVolumes, script: Script) -> None:
    closed = floor(datetime.now(UTC), MINUTE) - MINUTE
    question = Question("1m", "UTC", None, "JPY", "refunded")
    async with aclosing(live.watch(question)) as moments:
        script.next = [
            total(closed, refunded=1),
            total(closed, currency="JPY", refunded=2, validated=9),
            total(closed - WIDTHS["5m"], slot="5m", currency="JPY", refunded=3),
        ]
        told = await first_that(
            moments, lambda told: bool(told.changes.get(question) and told.changes[question].rows)
        )
    assert [(row.currency, row.status, row.count) for row in told.changes[question].rows] == [
        ("JPY", "refunded", 2)
    ]


async def test_it_ends_with_the_last_viewer_and_can_begin_again(live: LiveVolumes) -> None:
    question = Question("1h", "UTC", None)
    for _ in range(3):
        async with aclosing(live.watch(question)) as one, aclosing(live.watch(question)) as two:
            async with asyncio.timeout(10):
                await anext(one)
                await anext(two)
            assert live.running
        assert not live.running


async def test_a_reader_that_fails_is_told(transactional_db: None) -> None:
    class Deaf(TotalsProbe):
        def measure(self) -> list[SlotTotalled]:
            from outbox.kafka import BrokerError

            raise BrokerError("nobody answers")

    question = Question("1m", "UTC", None)
    live = LiveVolumes(totals=Deaf, interval=0.05)
    async with aclosing(live.watch(question)) as moments:
        # The open slot is read all the same.
        told = await first_that(
            moments, lambda told: told.away_since is not None and question in told.changes
        )
    assert said(told, question)["away"]


async def test_after_a_mistake_of_ours_it_can_begin_again(transactional_db: None) -> None:
    class Mistaken(TotalsProbe):
        mistakes = 2

        def measure(self) -> list[SlotTotalled]:
            if Mistaken.mistakes:
                Mistaken.mistakes -= 1
                raise ZeroDivisionError("a mistake")
            return []

    question, live = Question("1m", "UTC", None), LiveVolumes(totals=Mistaken, interval=0.05)

    def too_long(*_: object) -> None:
        raise AssertionError("a viewer never lets go of the event loop")

    # Where nothing ever waits, asyncio's own timeouts do not come either.
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    try:
        for _ in range(2):
            # A mistake is not called an outage.
            with pytest.raises(ZeroDivisionError):
                async with aclosing(live.watch(question)) as moments:
                    await first_that(moments, lambda told: False)
            assert not live.running
        async with aclosing(live.watch(question)) as moments:
            await first_that(moments, lambda told: told.away_since is None)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not live.running
    assert live.viewers == 0


async def test_totals_are_read_from_kafka_and_nonsense_is_passed(
    transactional_db: None,
) -> None:
    topic = f"payment-volumes-{uuid.uuid4().hex[:8]}"
    start = floor(datetime.now(UTC), MINUTE) - MINUTE

    def prepare() -> None:
        Cluster(config().kafka).create_topic(topic, partitions=1, replication=1, config={})
        good = record_of(total(start, validated=4))
        for value, headers in (
            (b"{", good.headers),
            (b'{"slot": "1m"}', good.headers),
            (good.value, [("ce_type", b"other.Type.v1")]),
            (total(start, currency="ABC", validated=1).to_json(), good.headers),
            (good.value, good.headers),
        ):
            send(Record(topic, 0, 0, b"k", value, list(headers), None))

    await in_thread(prepare)

    class Reader(TotalsProbe):
        topics = (topic,)

    live, question = LiveVolumes(totals=Reader, interval=0.05), Question("1m", "UTC", None)
    async with aclosing(live.watch(question)) as moments:
        told = await first_that(
            moments, lambda told: bool(told.changes.get(question) and told.changes[question].rows)
        )
    assert [(row.count, row.amount, row.currency) for row in told.changes[question].rows] == [
        (4, "4.00", "EUR")
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slot_start", "0001-01-01T00:00:00Z"),
        ("slot_start", "0001-01-01T00:00:00+14:00"),
        ("slot_start", "9999-12-31T23:59:00Z"),
        ("slot_start", "9999-12-31T23:59:00-14:00"),
        ("slot_start", "2026-03-01T12:00:30Z"),
        ("slot_start", "2026-03-01T12:00:00"),
        ("slot_start", "yesterday"),
        ("slot", "2m"),
        ("slot", "15m"),
        ("currency", "ABC"),
        ("currency", "eur"),
        ("totals", [{"status": "lost", "count": 1, "amount_minor": 1}]),
        ("totals", [{"status": "validated", "count": -1, "amount_minor": 1}]),
        ("totals", [{"status": "validated", "count": 1, "amount_minor": -1}]),
        ("totals", [{"status": "validated", "count": 1, "amount_minor": 1e300}]),
        ("totals", [{"status": "validated", "count": 1, "amount_minor": 10**1000}]),
        ("totals", [{"status": "validated", "count": 10**1000, "amount_minor": 1}]),
        ("totals", None),
        (None, None),
    ],
)
def test_what_no_total_can_be_is_passed_over_and_logged(
    field: str | None, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    good = total(datetime(2026, 3, 1, 12, tzinfo=UTC), validated=1)
    record = replace(record_of(good), value=b"{")
    if field:
        record = replace(record, value=json.dumps({**json.loads(good.to_json()), field: value}).encode())
    assert total_in(record_of(good)) == good
    assert not caplog.records
    assert total_in(record) is None
    assert "passed over a record of payment-volumes" in caplog.text


def test_a_number_that_python_would_not_read_is_passed_over() -> None:
    good = record_of(total(datetime(2026, 3, 1, 12, tzinfo=UTC), validated=1))
    assert good.value is not None
    for digits in (5_000, 100_000):
        long = good.value.replace(b'"amount_minor":100', b'"amount_minor":' + b"9" * digits)
        assert long != good.value
        assert total_in(replace(good, value=long)) is None


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYONES = Question("1m", "UTC", None)


def told_by(probe: TableProbe, question: Question, *totals: SlotTotalled, at: datetime = NOON) -> Change:
    for each in totals:
        probe.heard.put(each)
    return probe.measure(now=at, questions=[question])[question]


def test_each_total_is_told_once_and_a_day_of_them_in_bounded_messages(db: None) -> None:
    probe, seen = TableProbe(), list[tuple[datetime, str]]()
    day = [
        total(NOON - number * MINUTE, currency=currency, validated=1)
        for number in range(1, 1440)
        for currency in ("EUR", "JPY", "USD")
    ]
    change = told_by(probe, EVERYONES, *day)
    assert 0 < len(change.html) < 60_000
    for _ in range(4):
        if not change.rows:
            break
        assert len(change.rows) <= 100
        seen += [(row.start, row.currency) for row in change.rows]
        assert len(rows_in(change.html)) == len(change.rows)
        change = told_by(probe, EVERYONES)
    # What the page shows, each once, the latest first; not the day before it.
    assert len(seen) == len(set(seen)) == 60 * 3
    starts = [start for start, _ in seen]
    assert starts == sorted(starts, reverse=True)


def test_who_comes_later_or_was_slow_is_told_again(db: None) -> None:
    probe, closed = TableProbe(), total(NOON - MINUTE, validated=1)
    assert len(told_by(probe, EVERYONES, closed).rows) == 1
    assert not told_by(probe, EVERYONES).rows
    probe.came.put(EVERYONES)
    assert len(told_by(probe, EVERYONES, at=NOON + 29 * SECOND).rows) == 1
    probe.came.put(EVERYONES)
    assert not told_by(probe, EVERYONES, at=NOON + 31 * SECOND).rows


def test_a_page_is_told_of_its_own_range(db: None) -> None:
    since = replace(EVERYONES, since=NOON - 300 * MINUTE)
    totals = [total(NOON - number * MINUTE, validated=1) for number in (1, 61, 300, 301, 500)]
    for question, known in ((EVERYONES, [1]), (since, [1, 61, 300])):
        rows = told_by(TableProbe(), question, *totals, total(NOON + MINUTE, validated=1)).rows
        assert [(NOON - row.start) // MINUTE for row in rows] == known
    # Whatever the address says.
    for absurd in (datetime(1970, 1, 1, tzinfo=UTC), NOON + 5000 * MINUTE):
        change = told_by(TableProbe(), replace(EVERYONES, since=absurd), *totals)
        assert change.slots == [NOON - MINUTE, NOON]


def test_the_stream_of_a_page_knows_its_beginning(first: User) -> None:
    client = browser_of(first)
    page = client.get(reverse("volumes"), {"from": (datetime.now(UTC) - 5 * MINUTE).isoformat()[:16] + "Z"})
    stream = re.search(r'data-stream="([^"]*)"', page.content.decode())
    assert stream is not None
    assert re.search(r"since=\d{10}$", stream[1])
    for since, good in (("0", True), ("-1", False), ("x", False), ("9" * 30, False)):
        assert VolumesForm({"since": since}, zone="UTC").is_valid() is good


def test_a_total_is_never_older_than_the_table(first: User) -> None:
    for _ in range(3):
        count(first.id, at=NOON - MINUTE, minor=100)
    rows = told_by(TableProbe(), EVERYONES, total(NOON - MINUTE, validated=2, refunded=1)).rows
    assert [(row.status, row.count, row.amount) for row in rows] == [
        ("validated", 3, "3.00"),
        ("refunded", 1, "1.00"),
    ]


@pytest.mark.parametrize("question", [EVERYONES, Question("1m", "UTC", uuid.uuid4())])
def test_each_question_is_asked_once_however_many_slots_changed(
    db: None, question: Question, django_assert_max_num_queries: Any
) -> None:
    totals = [total(NOON - number * MINUTE, validated=1) for number in range(1, 50, 7)]
    # The slots, and which generation is live; the look's begin, limit and end.
    with django_assert_max_num_queries(2 + 3):
        told_by(TableProbe(), question, *totals)


def test_many_merchants_are_asked_for_together_and_each_is_told_its_own(
    first: User, second: User, django_assert_max_num_queries: Any
) -> None:
    asked = [Question("1m", "UTC", each.id) for each in (first, second)]
    others = [Question("1m", "UTC", uuid.uuid4()) for _ in range(40)]
    for merchant, times in ((first, 1), (second, 2)):
        for _ in range(times):
            count(merchant.id, at=NOON)
    probe = TableProbe()
    with django_assert_max_num_queries(2 + 3):
        changes = probe.measure(now=NOON, questions=[EVERYONES, *asked, *others])
    assert [[row.count for row in changes[one].rows] for one in (*asked, EVERYONES)] == [[1], [2], [3]]
    assert not any(changes[one].rows for one in others)
    # Only one of them is told of a slot that has closed; what the others are told begins no earlier for that.
    probe.heard.put(total(NOON - MINUTE, validated=1))
    count(first.id, at=NOON - MINUTE)
    changes = probe.measure(now=NOON, questions=[EVERYONES, *asked])
    assert [[row.start for row in changes[one].rows] for one in asked] == [[NOON - MINUTE], []]


def test_the_open_slot_is_told_when_it_has_changed(first: User) -> None:
    probe = TableProbe()
    count(first.id, at=NOON)
    assert [row.open for row in told_by(probe, EVERYONES).rows] == [True]
    assert not told_by(probe, EVERYONES).rows
    count(first.id, at=NOON)
    assert [row.count for row in told_by(probe, EVERYONES).rows] == [2]


def test_what_could_not_be_read_is_told_next(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, other = TableProbe(), Question("1m", "UTC", None, "EUR")
    probe.heard.put(total(NOON - MINUTE, validated=1))
    with monkeypatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr("dashboard.volumes_changes.rows_of_each", failing_at(2))
        probe.measure(now=NOON, questions=[EVERYONES, other])
    changes = probe.measure(now=NOON, questions=[EVERYONES, other])
    assert [len(changes[question].rows) for question in (EVERYONES, other)] == [1, 1]


def failing_at(number: int) -> Callable[..., dict[uuid.UUID | None, list[Row]]]:
    calls = itertools.count(1)

    def read(_: Question, merchant_ids: Iterable[uuid.UUID | None], *__: Any, **___: Any) -> Any:
        if next(calls) == number:
            raise OperationalError("away")
        return {merchant_id: [] for merchant_id in merchant_ids}

    return read


async def test_a_slow_viewer_misses_nothing_and_nothing_is_rendered_in_the_loop(
    live: LiveVolumes, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[int]()

    def rendered(template: str, context: dict[str, Any]) -> str:
        threads.add(threading.get_ident())
        return render_to_string(template, context)

    monkeypatch.setattr("dashboard.volumes_changes.render_to_string", rendered)
    closed = floor(datetime.now(UTC), MINUTE) - MINUTE

    def tells(told: Told) -> bool:
        change = told.changes.get(EVERYONES)
        return change is not None and any(row.start == closed for row in change.rows)

    async with aclosing(live.watch(EVERYONES)) as quick, aclosing(live.watch(EVERYONES)) as slow:
        await first_that(slow, lambda told: True)
        script.next = [total(closed, validated=2)]
        told = await first_that(quick, tells)
        await first_that(quick, lambda each: each.number > told.number + 2)
        volumes_message(await first_that(slow, tells), EVERYONES)
    assert threads
    assert threading.get_ident() not in threads
    # Of questions that nobody asks any more nothing is kept.
    assert not live._viewers


def test_everyones_rows_are_never_a_merchants(first: User) -> None:
    assert first.sees_merchant not in (None, EVERYONE)
    assert ensure_user(username="v", password=None, groups=["viewer"]).sees_merchant is None
