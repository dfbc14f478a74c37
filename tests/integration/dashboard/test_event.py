"""One event's page: where its time went, what it followed from, and nothing of what it holds as markup."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from accounts.models import User
from dashboard.events.search import FEW
from dashboard.events.story import LONGEST_STORY, story_of
from dashboard.events.waits import in_kafka_at, waits_of
from outbox.consumer_models import DiscardedEvent
from outbox.models import DeadLetter, Generation, OutboxEvent, ParkedKey, Publication, Refusal
from outbox.registry import get_consumer
from outbox.repair.acts import Act, Operator
from outbox.repair.letters import discard
from outbox.selectors import Trace, get_trace
from tests.integration.dashboard.conftest import Pay, browser_of
from tests.integration.dashboard.outbox_rows import publish_event, receive, refuse, write_event
from tests.integration.dashboard.poisoned import poison

pytestmark = pytest.mark.django_db
PLANTED = "<script>owned=1</script>\"'><img src=x onerror=owned=1>"
# Of whole milliseconds, as ids are; and in a week that has partitions.
NOW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)


def after(milliseconds: int) -> datetime:
    return NOW + timedelta(milliseconds=milliseconds)


def trace_of(event_id: UUID) -> Trace:
    trace = get_trace(event_id=event_id, owner=None)
    assert trace is not None
    return trace


def split(
    event_id: UUID, consumer: str, *, now: datetime, letters: Sequence[DeadLetter] = ()
) -> dict[str, float]:
    waits = waits_of(trace_of(event_id), now=now, letters=letters)
    [wait] = [one for one in waits if one.reception.consumer == consumer]
    assert sum((part.span for part in wait.parts), timedelta(0)) == wait.total
    return {part.kind: part.span.total_seconds() * 1000 for part in wait.parts}


def test_the_time_is_split_at_what_was_measured() -> None:
    event_id = write_event(at=NOW)
    assert split(event_id, "orders", now=after(50)) == {"outbox": 50}
    publish_event(event_id, at=after(4))
    assert split(event_id, "orders", now=after(60)) == {"outbox": 4, "broker": 56}
    # Since a relay tells when it began to send it, what the way into Kafka took stands for itself.
    Publication.objects.update(sent_at=after(1))
    assert split(event_id, "orders", now=after(60)) == {"outbox": 1, "sending": 3, "broker": 56}
    receive(event_id, "orders", received=after(7), at=after(12))
    receive(event_id, "loyalty", at=after(20))
    receive(event_id, "analytics", "parked", received=after(9), at=after(10))
    way = {"outbox": 1, "sending": 3}
    assert split(event_id, "orders", now=after(99)) == {**way, "broker": 3, "consumer": 5}
    # Where it was not written down when the consumer had read it, no time is made up for that.
    assert split(event_id, "loyalty", now=after(99)) == {**way, "broker": 16}
    assert split(event_id, "analytics", now=after(99)) == {**way, "broker": 5, "consumer": 90}


def test_an_event_leaves_the_outbox_once_and_is_in_kafka_when_its_first_reader_has_it(viewer: User) -> None:
    """Who reads it may have it before the relay has written down that Kafka took it."""
    event_id = write_event(at=NOW)
    publish_event(event_id, at=after(20))
    Publication.objects.update(sent_at=after(2))
    receive(event_id, "loyalty", received=after(9), at=after(25))
    receive(event_id, "orders", received=after(11), at=after(14))
    way = {"outbox": 2, "sending": 7}
    assert split(event_id, "loyalty", now=after(99)) == {**way, "broker": 0, "consumer": 16}
    assert split(event_id, "orders", now=after(99)) == {**way, "broker": 2, "consumer": 3}
    assert split(event_id, "analytics", now=after(99)) == {**way, "broker": 90}
    assert in_kafka_at(trace_of(event_id)) == after(9)
    assert re.search(r'Into Kafka</span><span class="figure">\+9 ms', page_of(viewer, event_id))


def test_no_span_is_less_than_nothing() -> None:
    event_id = write_event(at=NOW, happened=after(-3_000))
    publish_event(event_id, at=after(9))
    receive(event_id, "orders", received=after(6), at=after(8))
    spans = {"before": 3_000, "outbox": 6, "broker": 0, "consumer": 2}
    assert split(event_id, "orders", now=after(99)) == spans
    # What is left is its second trace: the relay that had sent it first wrote none.
    Publication.objects.update(sent_at=after(8))
    assert split(event_id, "orders", now=after(99)) == {**spans, "sending": 0}
    # Nor where clocks differ.
    early = write_event(at=NOW, happened=after(-5))
    receive(early, "orders", received=after(-3), at=after(-2))
    assert split(early, "orders", now=after(99)) == {"before": 2, "outbox": 0, "broker": 0, "consumer": 1}


def test_the_time_as_a_dead_letter_is_not_its_handlers() -> None:
    event_id = write_event(at=NOW)
    publish_event(event_id, at=after(4))
    receive(event_id, "loyalty", "dead", received=after(5), at=after(8))
    DeadLetter.objects.update(died_at=after(8))
    letters = list(DeadLetter.objects.all())
    dead = {"outbox": 4, "broker": 1, "consumer": 3}
    assert split(event_id, "loyalty", now=after(99), letters=letters) == dead
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_inbox SET outcome = 'discarded', processed_at = %s", [after(70)])
    assert split(event_id, "loyalty", now=after(99), letters=letters) == {**dead, "letter": 62}
    assert split(event_id, "orders", now=after(99), letters=letters) == {"outbox": 4, "broker": 95}


def test_a_wait_beyond_the_limit_is_said(viewer: User) -> None:
    event_id = write_event(at=NOW)
    publish_event(event_id, at=after(1))
    limit = get_consumer("orders").sync_delay_limit
    receive(event_id, "orders", received=after(2), at=NOW + 3 * limit)
    [late] = [one for one in waits_of(trace_of(event_id), now=NOW) if one.late]
    assert late.reception.consumer == "orders"
    assert late.mark == pytest.approx(1_000 / 3, abs=1)
    page = browser_of(viewer).get(reverse("event", args=[event_id])).content.decode()
    assert "beyond its limit" in page
    assert 'class="limit"' in page


def test_what_was_rebuilt_was_not_late(viewer: User) -> None:
    event_id = write_event(at=NOW)
    publish_event(event_id, at=after(1))
    limit = get_consumer("analytics").sync_delay_limit
    live_at = NOW + 9 * limit
    Generation.objects.create(consumer="analytics", generation=2, state="live", live_at=live_at)
    receive(event_id, "analytics", received=NOW + 8 * limit, at=NOW + 8 * limit, generation=2)
    [wait] = [one for one in waits_of(trace_of(event_id), now=NOW) if one.reception.consumer == "analytics"]
    assert (wait.reception.rebuilt, wait.reception.delay_seconds, wait.parts, wait.late) == (
        True,
        None,
        [],
        False,
    )
    page = browser_of(viewer).get(reverse("event", args=[event_id])).content.decode()
    assert "by a rebuild" in page
    assert "beyond its limit" not in page
    assert "rebuilt</span>" in browser_of(viewer).get(reverse("events")).content.decode()
    # What the one before had processed, and handed over, is as late as it was.
    Generation.objects.update(started_at=NOW + 8.5 * limit)
    [wait] = [one for one in waits_of(trace_of(event_id), now=NOW) if one.reception.consumer == "analytics"]
    assert (wait.reception.rebuilt, wait.late) == (False, True)
    Generation.objects.update(started_at=NOW)
    # What has come since it is live, is as late as it is.
    since = write_event(at=live_at)
    receive(since, "analytics", at=live_at + 2 * limit, generation=2)
    [wait] = [one for one in waits_of(trace_of(since), now=NOW) if one.reception.consumer == "analytics"]
    assert (wait.reception.rebuilt, wait.late) == (False, True)
    listed = browser_of(viewer).get(reverse("events")).content.decode()
    assert 'data-state="warn" title="analytics: processed"' in listed


def test_an_event_that_was_repaired_leads_to_its_dead_letter(viewer: User, first: User) -> None:
    letter = poison(first.id)
    address = f'href="{reverse("letter", args=[letter.id])}"'
    client = browser_of(viewer)
    for changes, said in (
        ({}, "Replay, correct or discard it"),
        ({"state": "replayed", "correction": b"{}"}, "and was replayed with changed data"),
        ({"state": "discarded", "correction": None}, "and was discarded"),
    ):
        settled = {"settled_at": NOW} if changes else {}
        DeadLetter.objects.filter(id=letter.id).update(**changes, **settled)
        page = client.get(reverse("event", args=[letter.event_id])).content.decode()
        assert address in page
        assert said in page


def test_the_consumer_writes_down_when_it_has_read(first: User, pay: Pay) -> None:
    from outbox.inbox import Inbox
    from outbox.item import read_item
    from outbox.models import InboxEntry, Outcome
    from outbox.sessions import enter_batch
    from tests.engine import Noted, record_of

    item = read_item(record_of(Noted(about="a")), consumer=get_consumer("orders"), now=NOW)
    enter_batch(limit=60, using="default")
    Inbox(consumer="orders", generation=1, using="default").claim([item.claim(Outcome.PROCESSED)])
    assert InboxEntry.objects.get().received_at == NOW


def told(event_id: UUID) -> list[tuple[str, int]]:
    """The story's types by depth, in the order of reading."""
    story = story_of(OutboxEvent.objects.get(id=event_id))
    depth, lines = 0, []
    for chapter in story.chapters:
        depth += chapter.opens
        lines.append((chapter.trace.event.type, depth))
        depth -= len(chapter.closes)
    assert depth == 0
    return lines


def test_the_tree_is_of_causes() -> None:
    root = write_event(type="root")
    now, ms = datetime.now(UTC), timedelta(milliseconds=1)  # within one ids come in any order
    left = write_event(type="left", causation_id=root, correlation_id=root, at=now + ms)
    write_event(type="right", causation_id=root, correlation_id=root, at=now + 2 * ms)
    below = write_event(type="below", causation_id=left, correlation_id=root, at=now + 3 * ms)
    write_event(type="elsewhere")
    tree = [("root", 0), ("left", 1), ("below", 2), ("right", 1)]
    for event_id in (root, left, below):
        assert told(event_id) == tree
    # What was caused under another correlation id still has its cause above it.
    stranger = write_event(type="stranger", causation_id=below)
    assert told(stranger) == [("root", 0), ("left", 1), ("below", 2), ("stranger", 3)]


def test_causes_that_are_gone_and_causes_in_a_circle() -> None:
    gone = uuid4()
    orphan = write_event(type="orphan", causation_id=gone)
    assert story_of(OutboxEvent.objects.get(id=orphan)).unknown == gone
    circle, (one, other, itself) = uuid4(), (UUID(int=orphan.int + step) for step in (1, 2, 3))
    write_event(event_id=one, type="one", causation_id=other, correlation_id=circle)
    write_event(event_id=other, type="other", causation_id=one, correlation_id=circle)
    write_event(event_id=itself, type="itself", causation_id=itself)
    assert told(one) == [("one", 0), ("other", 1)]
    assert told(other) == [("one", 0), ("other", 1)]
    assert told(itself) == [("itself", 0)]


def test_a_long_chain_and_a_large_correlation_keep_the_line(
    monkeypatch: pytest.MonkeyPatch, viewer: User
) -> None:
    shared = uuid4()
    chain: list[UUID] = []
    for number in range(150):
        at = NOW + timedelta(milliseconds=number)  # ids of one millisecond have no order
        parent = chain[-1] if chain else None
        chain.append(write_event(at=at, type=f"t{number}", causation_id=parent, correlation_id=shared))
    for size in (FEW, 20):
        monkeypatch.setattr("dashboard.events.story.FEW", size)
        lines = [kind for kind, _ in told(chain[40])]
        # What it followed from, as far back as is followed, and what followed from it.
        assert lines[lines.index("t40") - 5 : lines.index("t40") + 6] == [
            f"t{number}" for number in range(35, 46)
        ]
        assert len(lines) == LONGEST_STORY
        assert story_of(OutboxEvent.objects.get(id=chain[40])).more
    page = browser_of(viewer).get(reverse("event", args=[chain[40]]))
    assert page.status_code == 200
    assert "There is more of the story" in page.content.decode()


def test_a_dead_letter_and_what_waits_behind_it_lead_on(viewer: User) -> None:
    dead, waits = write_event(), write_event()
    for event_id, outcome in ((dead, "dead"), (waits, "parked")):
        publish_event(event_id)
        receive(event_id, "loyalty", outcome)
    ParkedKey.objects.create(
        consumer="loyalty",
        generation=1,
        topic="payments",
        key="k-1",
        cause="dead_letter",
        event_id=dead,
        parked_at=NOW,
    )
    letter = DeadLetter.objects.get()
    page = browser_of(viewer).get(reverse("event", args=[dead])).content.decode()
    assert f'href="/dead-letters/{letter.id}/"' in page
    behind = browser_of(viewer).get(reverse("event", args=[waits])).content.decode()
    assert "Parked in loyalty" in behind
    assert f'href="{reverse("event", args=[dead])}"' in behind


def page_of(user: User, event_id: UUID) -> str:
    """The text of its page as its source has it, white space made one."""
    return " ".join(browser_of(user).get(reverse("event", args=[event_id])).content.decode().split())


def test_a_settled_dead_letter_says_what_became_of_it_by_whom_and_why(viewer: User) -> None:
    event_id = write_event(key=None)
    receive(event_id, "loyalty", "dead")
    letter = DeadLetter.objects.get()
    assert "Replay, correct or discard it" in page_of(viewer, event_id)
    discard(letter_id=letter.id, operator=Operator("ann", PLANTED))
    page = page_of(viewer, event_id)
    assert "was discarded <time" in page
    assert f"ago by ann: {escape(PLANTED)}." in page
    assert f'href="/dead-letters/{letter.id}/">All that was done about it' in page
    assert PLANTED not in page
    # Nothing in the record says who settled it: then its page does not, either.
    DeadLetter.objects.update(id=uuid4(), state="replayed", correction=b"{}")
    assert re.search(
        r"was replayed with changed data <time[^>]*>[^<]*</time> ago\. <a", page_of(viewer, event_id)
    )


def test_what_a_consumer_discards_by_its_policy_says_why(viewer: User) -> None:
    event_id, other = write_event(), write_event()
    for one, reason in ((event_id, "an older reason"), (event_id, PLANTED), (other, "another event's")):
        DiscardedEvent.objects.create(
            consumer="orders",
            generation=1,
            event_id=one,
            topic="payments",
            partition=0,
            offset=0,
            type="x",
            cause="Foreign",
            error="shop 7",
            reason=reason,
            discarded_at=NOW,
        )
    assert "declares for" not in page_of(viewer, event_id), "its consumer has since processed it, or not yet"
    receive(event_id, "orders", "discarded")
    page = page_of(viewer, event_id)
    said = f"orders declares for <code>Foreign</code>: {escape(PLANTED)}. The error was: shop 7"
    assert said in page
    assert "older reason" not in page
    assert PLANTED not in page


def test_a_refused_event_says_so(viewer: User) -> None:
    event_id = write_event()
    refuse(event_id, cause=PLANTED)
    page = browser_of(viewer).get(reverse("event", args=[event_id])).content.decode()
    assert "Kafka has not got it" in page
    assert "<script>owned" not in page


def shown(browser: Client, path: str) -> dict[str, str]:
    """What the page that asks tells of, as its form says it."""
    return dict(re.findall(r'name="(shown)" value="([^"]*)"', browser.get(path).content.decode()))


def test_a_refused_event_is_sent_again_or_discarded_by_those_who_may(viewer: User, operator: User) -> None:
    first, second = (write_event(key="a") for _ in range(2))
    for event_id in (first, second):
        refuse(event_id)
    page, resend, discard = (
        reverse(name, args=[first]) for name in ("event", "event-resend", "event-discard")
    )
    assert resend not in browser_of(viewer).get(page).content.decode()
    assert browser_of(viewer).post(resend, {"reason": "room again"}).status_code == 403

    browser = browser_of(operator)
    assert resend in browser.get(page).content.decode()
    assert "1 event held behind it" in browser.get(resend).content.decode()
    assert "MSG_SIZE_TOO_LARGE" in browser.get(discard).content.decode()
    old = shown(browser, discard)
    assert browser.post(discard, {"reason": " ", **old}).status_code == 422
    assert browser.post(discard, {"reason": "unseen"}).status_code == 409
    assert not Act.objects.exists()

    assert browser.post(resend, {"reason": "room again", **shown(browser, resend)}).status_code == 302
    assert Refusal.objects.filter(requested_at__isnull=False, discarded="").count() == 2
    assert "A relay has been asked to send it again" in browser.get(page).content.decode()
    answer = browser.post(discard, {"reason": "too large for any reader", **old})
    assert answer.status_code == 409
    assert "By now it is asked for that it be sent again." in answer.content.decode()
    assert not Refusal.objects.exclude(discarded="").exists()
    browser.post(discard, {"reason": "too large for any reader", **shown(browser, discard)})
    assert Refusal.objects.get(event_id=first).discarded == "too large for any reader"
    acts = Act.objects.order_by("id").values_list("act", "result", "who", "why", "event_id")
    assert list(acts) == [
        ("resend", "asked", operator.username, "room again", first),
        ("discard", "asked", operator.username, "too large for any reader", first),
    ]

    old = shown(browser, resend)
    Refusal.objects.update(requested_at=None, discarded="", cause="once more")
    answer = browser.post(resend, {"reason": "room again", **old})
    assert answer.status_code == 409
    assert "Kafka has refused it again: once more" in answer.content.decode()
    assert Act.objects.count() == 2

    Refusal.objects.all().delete()
    assert browser.get(resend).status_code == browser.post(resend, {"reason": "late"}).status_code == 404


def test_it_leads_to_its_payment(first: User, viewer: User, pay: Pay) -> None:
    event = OutboxEvent.objects.get(id=pay(first))
    page = browser_of(viewer).get(reverse("event", args=[event.id])).content.decode()
    assert f'href="{reverse("payment", args=[event.key])}"' in page


@pytest.mark.parametrize(
    "payload",
    [
        f'{{"note": "{PLANTED}", "payment_id": "{PLANTED}"}}'.encode(),
        b"\xff\xfe\x00 not text",
        b"[" * 10_000,
        b'{"payment_id": 5}',
        b"",
        b'{"filler": "' + b"x" * 200_000 + b'"}',
    ],
)
def test_no_payload_is_markup_or_a_failure(viewer: User, payload: bytes) -> None:
    event_id = write_event(payload=payload)
    answer = browser_of(viewer).get(reverse("event", args=[event_id]))
    assert answer.status_code == 200
    assert "<script>owned" not in answer.content.decode()
    assert "<img src=x" not in answer.content.decode()


def test_hostile_text_in_every_field_stays_text(viewer: User) -> None:
    cause = write_event(type=f"a.{PLANTED}.v1", source=PLANTED, key=PLANTED)
    event_id = write_event(
        type=f"a.{PLANTED}.v1",
        source=PLANTED,
        key=PLANTED,
        owner=PLANTED,
        content_type=PLANTED,
        traceparent=PLANTED,
        causation_id=cause,
        correlation_id=cause,
        payload=PLANTED.encode(),
    )
    publish_event(event_id)
    receive(event_id, "orders", "dead")
    DeadLetter.objects.update(error=PLANTED, traceback=PLANTED, cause=PLANTED, key=PLANTED)
    page = browser_of(viewer).get(reverse("event", args=[event_id])).content.decode()
    assert page.count("&lt;script&gt;owned") >= 12
    for part in ("<script>owned", "<img src=x", "\"'><img"):
        assert part not in page


def test_find_leads_to_the_latest_of_a_key_or_a_correlation(viewer: User) -> None:
    shared = uuid4()
    events = [write_event(at=after(number), key="k-7", correlation_id=shared) for number in range(3)]
    client = browser_of(viewer)
    for wanted in ("k-7", str(shared), str(events[-1])):
        answer = client.get(reverse("find"), {"q": wanted})
        assert answer.headers["Location"] == reverse("event", args=[events[-1]])
