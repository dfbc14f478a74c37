"""The events page: what is looked for is found, whole, in order, by indexes; by those who may look."""

import random
import re
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from dashboard.events import search as searching
from dashboard.events.question import Question, address, declared_types
from dashboard.events.search import Page, indexes_alone, search
from outbox.models import Generation, OutboxEvent, Outcome, Refusal
from outbox.registry import subscribers
from outbox.selectors import PENDING, Trace, traces
from tests.integration.dashboard.conftest import Pay, browser_of
from tests.integration.dashboard.outbox_rows import (
    publish_event,
    receive,
    refuse,
    relay_all,
    write_event,
)

pytestmark = pytest.mark.django_db
# Partitions are made ahead, not for last week: so these tests run on Mondays, too.
NOW = datetime.now(UTC) + timedelta(days=3)
PLANTED = "<script>owned=1</script>\"'><img src=x onerror=owned=1>"
TYPES = ("payments.PaymentRequested.v1", "payments.PaymentValidated.v1", "orders.OrderCreated.v1")


def ids(page: Page) -> list[UUID]:
    return [row.trace.event.id for row in page.rows]


def all_pages(question: Question, *, size: int = 7, look_at: int = 11) -> list[UUID]:
    """Every event found from page to page; the way back has to lead over the same ones."""
    found, page, before, steps = [], search(question, size=size, look_at=look_at), None, 0
    while True:
        found += ids(page)
        if page.older is None:
            break
        before, steps = page.older, steps + 1
        assert steps < 500
        page = search(question, before=before, size=size, look_at=look_at)
    back = ids(page)
    while page.newer is not None:
        page = search(question, after=page.newer, size=size, look_at=look_at)
        back = ids(page) + [one for one in back if one not in ids(page)]
    assert back == found
    return found


@pytest.fixture
def many() -> list[UUID]:
    """Some hundred events of a few keys, owners and types, in every state, over two hours."""
    chance = random.Random(7)
    correlations = [uuid4() for _ in range(3)]
    written = []
    for number in range(180):
        kind = chance.choice(TYPES)
        written.append(
            write_event(
                at=NOW - timedelta(hours=2) + timedelta(seconds=40 * number),
                key=chance.choice(["k-1", "k-2", None]),
                type=kind,
                topic=kind.partition(".")[0],
                owner=chance.choice(["a", "b", None]),
                correlation_id=chance.choice(correlations),
            )
        )
    for event_id in written:
        fate = chance.random()
        if fate < 0.1:
            refuse(event_id)
            continue
        if fate < 0.2:
            continue
        publish_event(event_id)
        event = OutboxEvent.objects.get(id=event_id)
        for consumer in subscribers(event.topic):
            outcome = chance.choice([PENDING, *Outcome.values])
            # What has no key waits behind nothing.
            if outcome != PENDING and (event.key or outcome != Outcome.PARKED):
                receive(event_id, consumer.name, outcome)
    return written


def told() -> list[Trace]:
    """All events with what became of them, the latest first."""
    return traces(OutboxEvent.objects.order_by("-id"))


def fits(trace: Trace, question: Question, held_ids: set[UUID]) -> bool:
    """What the page promises, event by event."""
    event = trace.event
    states = {one.consumer: one.status for one in trace.consumers}
    held = event.id in held_ids
    said = {
        "waiting": not trace.publications and not held,
        "refused": held,
        "": True,
    }
    if question.status in said:
        stands = said[question.status]
    elif question.consumer:
        stands = states.get(question.consumer) == question.status
    else:
        stands = question.status in states.values()
    return (
        stands
        and question.type in {"", event.type}
        and question.topic in {"", event.topic}
        and question.owner in {"", event.owner}
        and question.text in {"", str(event.id), event.key, str(event.correlation_id)}
        and (question.since is None or event.id.int >> 80 >= question.since.timestamp() * 1000)
        and (question.until is None or event.id.int >> 80 < question.until.timestamp() * 1000)
    )


def refused() -> set[UUID]:
    return set(Refusal.objects.values_list("event_id", flat=True))


def test_every_combination_of_filters_finds_exactly_what_fits(many: list[UUID]) -> None:
    """Over pages of seven, which look at no more than eleven events each."""
    everything, held = told(), refused()
    events = [trace.event for trace in everything]
    texts = ["", "k-1", str(events[5].correlation_id), str(events[9].id), "nothing"]
    states = [
        *[("", ""), ("waiting", ""), ("refused", ""), (PENDING, ""), ("dead", ""), ("parked", "")],
        *[(status, "orders") for status in (PENDING, *Outcome.values)],
    ]
    spans = [(None, None), (NOW - timedelta(minutes=70), NOW - timedelta(minutes=30))]
    asked = list(product(texts, states, ["", TYPES[1]], ["", "a"], spans))
    for text, (status, consumer), kind, owner, (since, until) in random.Random(3).sample(asked, 60):
        question = Question(
            text=text,
            type=kind,
            status=status,
            consumer=consumer,
            owner=owner,
            since=since and since.replace(microsecond=0),
            until=until and until.replace(microsecond=0),
        )
        wanted = [trace.event for trace in everything if fits(trace, question, held)]
        if text == "k-1":
            # A key's events are in its own order, by topic.
            wanted.sort(key=lambda event: (event.topic, event.number), reverse=True)
        assert all_pages(question) == [event.id for event in wanted], question


def test_what_is_few_is_found_however_long_ago(many: list[UUID]) -> None:
    """A dead letter, a refusal and what waits for the relay are looked for where they are, not backwards."""
    everything, held = told(), refused()
    for status, first in (("refused", 3), ("dead", 2), ("parked", 1)):
        wanted = [trace.event.id for trace in everything if fits(trace, Question(status=status), held)]
        assert len(wanted) > first
        assert set(ids(search(Question(status=status), look_at=len(wanted) + 9))) == set(wanted)
    relay_all()
    waiting = write_event(at=NOW - timedelta(days=1))
    assert ids(search(Question(status="waiting"), look_at=5)) == [waiting]


def test_a_large_correlation_and_a_large_backlog_are_walked(
    many: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "FEW", 5)
    events = list(OutboxEvent.objects.order_by("-id"))
    correlation = events[0].correlation_id
    found = all_pages(Question(text=str(correlation)))
    assert found == [event.id for event in events if event.correlation_id == correlation]
    backlog = [write_event(key=f"b-{number}") for number in range(9)]
    assert set(backlog) <= set(all_pages(Question(status="waiting")))


def test_a_page_that_is_not_full_says_how_far_it_has_looked() -> None:
    for number in range(30):
        write_event(at=NOW - timedelta(minutes=number))
    rare = write_event(at=NOW - timedelta(minutes=20, seconds=1), type="payments.PaymentRefunded.v1")
    question = Question(type="payments.PaymentRefunded.v1")
    page = search(question, look_at=10)
    assert page.rows == []
    assert page.until is not None
    assert abs(page.until - (NOW - timedelta(minutes=9))) < timedelta(seconds=1)
    further = search(question, before=page.older, look_at=15)
    assert ids(further) == [rare]
    assert search(question, look_at=100).until is None


def test_a_projection_speaks_by_its_live_generation() -> None:
    event_id = write_event()
    publish_event(event_id)
    receive(event_id, "analytics", "dead")
    Generation.objects.create(consumer="analytics", generation=1, state="retired", retired_at=NOW)
    Generation.objects.create(consumer="analytics", generation=2, state="live", live_at=NOW)
    Generation.objects.create(consumer="analytics", generation=3, state="building")
    receive(event_id, "analytics", "processed", generation=2)
    receive(event_id, "analytics", "discarded", generation=3)
    for status, found in (("processed", True), ("dead", False), ("discarded", False), (PENDING, False)):
        assert bool(search(Question(status=status, consumer="analytics")).rows) is found, status


@pytest.mark.django_db(transaction=True)
def test_who_may_look_sees_the_page_and_nobody_else(
    first: User, viewer: User, operator: User, staff: User, pay: Pay
) -> None:
    event_id = pay(first)
    for path in (reverse("events"), reverse("events-stream")):
        assert browser_of(first).get(path).status_code == 403
    anonymous = Client(headers={"host": "localhost"})
    assert anonymous.get(reverse("events")).status_code == 302
    assert anonymous.get(reverse("events-stream")).status_code == 401
    for user in (viewer, operator, staff):
        answer = browser_of(user).get(reverse("events"))
        assert answer.status_code == 200
        assert str(event_id) in answer.content.decode()
        assert browser_of(user).post(reverse("events")).status_code == 405


def test_the_filters_stay_in_the_address_and_in_the_form(viewer: User) -> None:
    for number in range(60):
        write_event(key="k-9", at=NOW - timedelta(seconds=number))
    asked = {
        "q": "k-9",
        "type": "payments.PaymentRequested.v1",
        "state": "orders:pending",
        "from": "2026-01-02T03:04",
        "tz": "Asia/Tokyo",
    }
    client = browser_of(viewer)
    page = client.get(reverse("events"), asked).content.decode()
    assert 'value="2026-01-02T03:04:00"' in page
    assert '<option value="orders:pending" selected>' in page
    assert '<option value="payments.PaymentRequested.v1" selected>' in page
    [older] = re.findall(r'href="(\?[^"]*before=[^"]*)" rel="next"', page)
    # Times are in UTC, so that the address means the same to whoever gets it.
    assert "from=2026-01-01T18%3A04%3A00Z" in older
    second = client.get(reverse("events") + older.replace("&amp;", "&")).content.decode()
    assert second.count('<tr id="e-') == 10
    assert "data-stream" not in second
    assert "data-stream" in page
    assert "data-stream" not in client.get(reverse("events"), {"to": "2027-01-01"}).content.decode()


@pytest.mark.parametrize(
    "asked",
    [
        {"q": "a\x00b"},
        {"q": "é" * 2_000},
        {"type": "a\x00"},
        {"state": "orders:lost"},
        {"state": "\x00"},
        {"topic": "nowhere"},
        {"merchant": "nobody"},
        {"merchant": "\x00"},
        {"kye": "a"},
        {"from": "soon"},
        {"from": "\x00"},
        {"from": "0001-01-01T00:00-23:59"},
        {"to": "9999-12-31T23:59-23:59"},
        {"from": "2026-01-02", "to": "2026-01-01"},
        {"from": "2026-01-02", "tz": "Nowhere/Else"},
        {"tz": "\x00"},
        {"before": "not-an-id"},
        {"after": "\x00"},
    ],
)
def test_what_means_nothing_is_said_and_is_no_failure(viewer: User, asked: dict[str, str]) -> None:
    client = browser_of(viewer)
    answer = client.get(reverse("events"), asked)
    assert answer.status_code == 400
    assert "The address asks for something" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_stream_refuses_what_means_nothing_and_what_cannot_change(viewer: User) -> None:
    client = browser_of(viewer)
    for asked in ({"q": "a\x00b"}, {"state": "x"}, {"to": "2027-01-01"}, {"before": str(uuid4())}):
        assert client.get(reverse("events-stream"), asked).status_code == 400
    assert client.head(reverse("events-stream")).status_code == 200


def test_strange_but_possible_questions_find_nothing(viewer: User) -> None:
    write_event()
    client = browser_of(viewer)
    for asked in (
        {"q": PLANTED},
        {"q": "%"},
        {"q": str(uuid4())},
        {"type": PLANTED},
        {"type": "no.longer.declared"},
        {"before": str(UUID(int=0))},
        {"to": "1999-01-01"},
    ):
        answer = client.get(reverse("events"), asked)
        assert answer.status_code == 200, asked
        page = answer.content.decode()
        assert "No event " in page
        assert "<script>owned" not in page
    # Above the first event there is no page: it is the first one.
    assert client.get(reverse("events"), {"after": str(UUID(int=2**128 - 1))}).status_code == 200


def test_an_empty_outbox_says_what_to_do(viewer: User) -> None:
    page = browser_of(viewer).get(reverse("events")).content.decode()
    assert "No events yet" in page


def test_hostile_text_stays_text(viewer: User, first: User) -> None:
    event_id = write_event(
        key=PLANTED, type=f"a.{PLANTED}.v1", source=PLANTED, topic="payments", owner=PLANTED
    )
    publish_event(event_id)
    receive(event_id, "orders", "dead")
    client = browser_of(viewer)
    for asked in ({}, {"q": PLANTED}, {"type": f"a.{PLANTED}.v1"}, {"state": "orders:dead"}):
        page = client.get(reverse("events"), asked).content.decode()
        assert str(event_id) in page
        assert "<script>owned" not in page
        assert "<img src=x" not in page


def test_declared_types_can_be_picked() -> None:
    types = declared_types()
    assert "payments.PaymentValidated.v1" in types
    assert "analytics.SlotTotalled.v1" in types
    assert len(set(types)) == len(types)


def test_an_address_says_what_was_asked() -> None:
    question = Question(text="a&b", status="dead", since=datetime(2026, 1, 2, tzinfo=UTC))
    assert address(question) == "?q=a%26b&state=%3Adead&from=2026-01-02T00%3A00%3A00Z"
    assert address(Question()) == "?"


EVENTS = 120_000
_MANY = """
INSERT INTO outbox_event (id, shard, topic, key, hash, number, type, source, occurred_at, correlation_id,
    content_type, payload, owner)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid,
    n %% 8, 'payments', CASE WHEN n %% 2 = 0 THEN 'hot' ELSE 'k-' || n END, 1, n + 1,
    'payments.PaymentRequested.v1', '/t', at, CASE WHEN n %% 3 = 0 THEN %s ELSE gen_random_uuid() END,
    'application/json', repeat('x', 400)::bytea, CASE WHEN n %% 5 = 0 THEN 'rich' ELSE 'm-' || n %% 97 END
FROM generate_series(0, %s) AS n,
    LATERAL (SELECT now() + n * interval '25 ms' AS at) AS moment
"""
_PROCESSED = """
INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", type, outcome,
    occurred_at)
SELECT id, consumer, 1, topic, 0, position, type, 'processed', occurred_at
FROM outbox_event, unnest(ARRAY['analytics', 'loyalty', 'orders']) AS consumer
"""


@pytest.mark.django_db(transaction=True)
def test_every_question_is_a_walk_along_an_index() -> None:
    """Over a hundred thousand events: no plan scans a table, sorts one or looks at much more than it may.

    Also before the statistics know anything of it.
    """
    correlation = uuid4()
    with connection.cursor() as cursor:
        cursor.execute(_MANY, [correlation, EVENTS - 1])
        cursor.execute(_PROCESSED)
        cursor.execute("INSERT INTO outbox_publication SELECT id, 0, position, occurred_at FROM outbox_event")
    relay_all()
    start = datetime.now(UTC)
    questions = [
        Question(),
        Question(type="payments.PaymentRefunded.v1"),
        Question(topic="loyalty"),
        Question(text="hot"),
        Question(text="hot", type="payments.PaymentRefunded.v1"),
        Question(text="hot", status=PENDING, consumer="orders"),
        Question(text="k-7"),
        Question(text=str(correlation)),
        Question(text=str(uuid4())),
        Question(status=PENDING, consumer="orders"),
        Question(status=PENDING),
        Question(status="discarded", consumer="loyalty"),
        Question(status="dead"),
        Question(status="parked", consumer="orders"),
        Question(status="waiting"),
        Question(status="refused"),
        Question(owner="nobody"),
        Question(owner="rich", type="payments.PaymentRefunded.v1"),
        Question(since=start, until=start + timedelta(minutes=30)),
        Question(since=start, until=start + timedelta(minutes=30), type="x"),
    ]
    for statistics in ("none", "fresh"):
        if statistics == "fresh":
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE outbox_event, outbox_publication, outbox_inbox")
        for question in questions:
            plans, rows = planned(question)
            assert not re.search(r"Seq Scan on (outbox_event|outbox_inbox|outbox_publication)_p", plans), (
                question
            )
            assert "Bitmap" not in plans
            # What is walked, and for each step what three consumers made of it.
            assert rows <= 3 * searching.LOOK_AT + 1_000, (statistics, question)


def planned(question: Question) -> tuple[str, int]:
    """The plans of all statements about the events, and the most rows that a node of them gave."""
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "WITH")) and "set_config" not in sql:
            statements.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        search(question)
    plans = []
    with indexes_alone(), connection.cursor() as cursor:
        for sql, parameters in statements:
            cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) {sql}", parameters)
            plans += [line for (line,) in cursor.fetchall()]
    counts = [
        round(float(rows)) * int(loops)
        for line in plans
        for rows, loops in re.findall(r"actual rows=([\d.]+) loops=(\d+)", line)
    ]
    return "\n".join(plans), max(counts)
