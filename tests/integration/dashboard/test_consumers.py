"""The pages of consumers: who may look and steer, what is shown before, and what is written down after."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from dashboard import asking
from dashboard.consumers import history, regions, views
from dashboard.consumers.history import WINDOWS, history_of
from dashboard.consumers.regions import Asked, list_page, one_page, read_list, read_one
from dashboard.consumers.selectors import standings
from dashboard.sampler import Reading
from dashboard.topics.observer import Seen
from devstack.stack import Stack
from outbox import clock
from outbox.alerts.alarms import Alarm
from outbox.consumer_models import ConsumerState, RebuildRequest
from outbox.generations import generations_of
from outbox.models import Generation, TopicRecord
from outbox.pausing import ITSELF, pause, pause_of, resume
from outbox.positions import LagSample, Member, PartitionEnd, Position
from outbox.rebuild_requests import give_up, request_rebuild
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Act, Operator, Via
from tests.integration.at_once import at_once
from tests.integration.dashboard.conftest import browser_of
from tests.integration.eventsite.test_turns import locked

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = "<img src=x onerror=owned=1>"
COMMANDS = ("pause", "resume", "rebuild", "abandon")


@pytest.fixture
def orders(db: None) -> Consumer:
    return get_consumer("orders")


@pytest.fixture
def analytics(db: None) -> Consumer:
    return get_consumer("analytics")


@pytest.fixture(autouse=True)
def _fresh_history() -> None:
    history._history.cache_clear()


class Kafka:
    """In place of who asks it: what was last heard."""

    def __init__(self) -> None:
        self.reading: Reading[Seen] = Reading()

    def look(self, *, patience: float = 0.0) -> Reading[Seen]:
        return self.reading


@pytest.fixture(autouse=True)
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()
    for module in (views, regions):
        monkeypatch.setattr(module, "observer", kafka)
    return kafka


def text(html: str) -> str:
    """What a reader sees, without the explanations behind "?"."""
    visible = re.sub(r'<div class="hint-text".*?</div>', " ", html, flags=re.S)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", visible)))


def page_of(consumer: Consumer, user: User) -> str:
    return browser_of(user).get(reverse("consumer", args=[consumer.name])).content.decode()


def list_of(user: User) -> str:
    return browser_of(user).get(reverse("consumers")).content.decode()


def behind(consumer: Consumer, events: int, *, waits: float = 0.0, members: int = 1) -> None:
    """Its lag, as an instance that was there would have told it."""
    now, [topic] = datetime.now(UTC), consumer.topics
    PartitionEnd.objects.create(topic=topic, partition=0, next_offset=1_000)
    Position.objects.create(
        consumer=consumer.name,
        topic=topic,
        partition=0,
        reached=1_000 - events,
        clear_until=now - timedelta(seconds=waits),
    )
    for number in range(members):
        Member.objects.create(
            consumer=consumer.name, name=f"host:{number}", partitions=[] if number else [[topic, 0]]
        )


def sample(
    consumer: Consumer,
    ago: float,
    *,
    produced: int,
    processed: int,
    seconds: float | None = 0.0,
    now: datetime | None = None,
) -> None:
    LagSample.objects.create(
        consumer=consumer.name,
        at=(now or clock.now()) - timedelta(seconds=ago),
        events=produced - processed,
        seconds=seconds,
        delay=None,
        produced=produced,
        processed=processed,
        members=1,
    )


def acts() -> list[tuple[str, str, str, str, str]]:
    return list(Act.objects.order_by("id").values_list("who", "via", "act", "result", "why"))


def test_only_those_who_see_everyone_look(first: User, viewer: User, staff: User, operator: User) -> None:
    anonymous = Client(headers={"host": "localhost"})
    for path in (reverse("consumers"), reverse("consumer", args=["orders"])):
        assert anonymous.get(path).headers["Location"].startswith("/login/?next=")
        assert browser_of(first).get(path).status_code == 403
        for user in (viewer, staff, operator):
            assert browser_of(user).get(path).status_code == 200
    for path in (reverse("consumers-stream"), reverse("consumer-stream", args=["orders"])):
        assert anonymous.head(path).status_code == 401
        assert browser_of(first).head(path).status_code == 403
        assert browser_of(viewer).head(path).status_code == 200
    assert (
        browser_of(viewer).head(reverse("consumer-stream", args=["orders"]), {"window": "9y"}).status_code
        == 400
    )


def test_who_may_only_look_finds_no_button_and_acts_on_nothing(
    first: User, viewer: User, staff: User, orders: Consumer, analytics: Consumer
) -> None:
    for user in (viewer, staff):
        for consumer in (orders, analytics):
            assert "/pause/" not in page_of(consumer, user)
        assert "/pause/" not in browser_of(user).get(reverse("consumers")).content.decode()
    paths = [reverse("consumer-command", args=["analytics", command]) for command in COMMANDS]
    for path in [*paths, reverse("consumer-seek", args=["analytics"])]:
        given = {"reason": "because", "to": "2020-01-01T00:00:00Z", "skipped": "0"}
        assert Client(headers={"host": "localhost"}).post(path, given).status_code == 302
        for user in (first, viewer, staff):
            assert browser_of(user).get(path).status_code == 403
            assert browser_of(user).post(path, given).status_code == 403
    assert acts() == []
    assert pause_of(analytics) is None
    assert generations_of(analytics) == [(1, "live")]


def shown(user: User, path: str) -> str:
    """What the page that asks tells of, as its form says it."""
    (mark,) = re.findall(r'name="shown" value="([^"]*)"', browser_of(user).get(path).content.decode())
    return str(mark)


def test_what_is_not_declared_is_not_found(operator: User) -> None:
    client = browser_of(operator)
    for name in ("nobody", HOSTILE, "orders.generation-2"):
        for path in (
            reverse("consumer", args=[name]),
            reverse("consumer-seek", args=[name]),
            reverse("consumer-command", args=[name, "pause"]),
            reverse("consumer-stream", args=[name]),
        ):
            assert client.get(path).status_code == 404, path
    assert client.post(reverse("consumer-command", args=["orders", "explode"])).status_code == 404


def test_a_pause_says_what_it_means_and_is_written_down_once(operator: User, orders: Consumer) -> None:
    behind(orders, 7, members=2)
    sample(orders, 60, produced=700, processed=700)
    client, path = browser_of(operator), reverse("consumer-command", args=["orders", "pause"])
    asked = text(client.get(path).content.decode())
    assert "Its 2 instances will process nothing until it is resumed; 7 events wait now." in asked
    assert re.search(
        r"[45]\.\d /s come in: after a minute (2\d\d|300) more events will wait. Its limit is 5 s", asked
    )
    assert pause_of(orders) is None
    for reason in ("", "   ", "x" * 501, "\x00"):
        assert client.post(path, {"reason": reason}).status_code == 422
    assert (pause_of(orders), acts()) == (None, [])
    answers = at_once(*[lambda: browser_of(operator).post(path, {"reason": "the rates are wrong"})] * 2)
    assert [answer.status_code for answer in answers] == [302, 302]
    pause = pause_of(orders)
    assert pause is not None
    assert (pause.by, pause.reason) == ("operator", "the rates are wrong")
    assert acts() == [("operator", "dashboard", "pause", "paused", "the rates are wrong")]
    page = text(page_of(orders, operator))
    assert "Paused by operator: the rates are wrong" in page
    assert "pause: paused the rates are wrong Its instances process nothing." in page


def test_a_resume_says_what_waits_and_is_written_down_once(operator: User, orders: Consumer) -> None:
    behind(orders, 1, waits=90)
    reason = "21 keys failed within 1 min with one fingerprint, 0a1b: KeyError: <b>"
    ConsumerState.objects.create(name="orders", paused_at=clock.now(), paused_by=ITSELF, reason=reason)
    client, path = browser_of(operator), reverse("consumer-command", args=["orders", "resume"])
    led = f'<a class="in-text" href="{reverse("letters")}?fingerprint=0a1b">0a1b</a>: KeyError: &lt;b&gt;'
    asked = client.get(path).content.decode()
    assert led in asked
    assert led in page_of(orders, operator)
    asked = text(asked)
    assert re.search(r"1 event that wait will be processed, the oldest (9\d|1\d\d) s late\.", asked)
    assert "It paused itself: 21 keys failed within 1 min with one fingerprint, 0a1b" in asked
    assert "paused by itself" in text(page_of(orders, operator))
    given = {"reason": "mended", "shown": shown(operator, path)}
    for _ in range(2):
        assert client.post(path, given).status_code == 302
    assert pause_of(orders) is None
    assert acts() == [("operator", "dashboard", "resume", "resumed", "mended")]


@pytest.mark.parametrize("told", ["a pause", "none", "nothing"])
def test_no_other_pause_is_lifted_than_was_shown(operator: User, orders: Consumer, told: str) -> None:
    """The consumer has paused itself since the form was made, or the form tells of no pause at all."""
    behind(orders, 1)
    client, path = browser_of(operator), reverse("consumer-command", args=["orders", "resume"])
    pause(consumer=orders, by="anna", reason="a look")
    if told == "none":
        resume(consumer=orders, by="anna")
    given = {"reason": "seen", **({} if told == "nothing" else {"shown": shown(operator, path)})}
    resume(consumer=orders, by="anna")
    pause(consumer=orders, by=ITSELF, reason="20 keys failed", via=Via.WORKER)
    before = acts()
    answer = client.post(path, given)
    assert answer.status_code == 409
    said = text(answer.content.decode())
    assert f"By now it is paused by {ITSELF}" in said
    assert "That is not what was shown: nothing was done." in said
    assert "It paused itself: 20 keys failed" in said
    assert pause_of(orders) is not None
    assert acts() == before
    assert client.post(path, {"reason": "mended", "shown": shown(operator, path)}).status_code == 302
    assert pause_of(orders) is None


def test_no_other_generation_is_given_up_or_gone_on_with_than_was_shown(
    operator: User, analytics: Consumer
) -> None:
    """Of the same number, even: the one that was shown has been given up, and cleared away."""
    behind(analytics, 0)
    client, anna = browser_of(operator), Operator("anna")
    build, abandon = (reverse("consumer-command", args=["analytics", one]) for one in ("rebuild", "abandon"))
    request_rebuild(consumer=analytics, operator=anna)
    given = {"reason": "not today", "shown": shown(operator, abandon)}
    RebuildRequest.objects.update(error="Kafka no longer has all events")
    again = {"reason": "so be it", "shown": shown(operator, build)}
    Generation.objects.filter(state="building").delete()
    answer = client.post(build, again)  # it would begin another one
    assert answer.status_code == 409
    assert "By now no generation is half built." in text(answer.content.decode())
    RebuildRequest.objects.all().delete()
    assert generations_of(analytics) == [(1, "live")]
    request_rebuild(consumer=analytics, operator=anna)
    RebuildRequest.objects.update(error="Kafka no longer has all events")
    for path, form in ((abandon, given), (build, again)):
        answer = client.post(path, form)
        assert answer.status_code == 409
        assert "By now generation 2 is half built. That is not what was shown" in text(
            answer.content.decode()
        )
    assert generations_of(analytics) == [(1, "live"), (2, "building")]
    assert client.post(abandon, {**given, "shown": shown(operator, abandon)}).status_code == 302
    assert generations_of(analytics) == [(1, "live"), (2, "abandoned")]


def test_a_rebuild_is_asked_for_with_numbers_and_given_up(operator: User, analytics: Consumer) -> None:
    behind(analytics, 0)
    client = browser_of(operator)
    build, abandon = (reverse("consumer-command", args=["analytics", one]) for one in ("rebuild", "abandon"))
    asked = text(client.get(build).content.decode())
    assert "Reads up to 1,000 records of payments from the beginning, beside generation 1" in asked
    given = {"reason": "counts are off", "shown": shown(operator, build)}
    answers = at_once(*[lambda: browser_of(operator).post(build, given)] * 2)
    assert [answer.status_code for answer in answers] == [302, 302]
    assert generations_of(analytics) == [(1, "live"), (2, "building")]
    RebuildRequest.objects.update(read=250, records=1_000, per_second=50.0, told_at=clock.now())
    page = text(page_of(analytics, operator))
    assert "25 % · 250 of 1000 records · 50 /s · 15 s left" in page
    assert "Asked for by operator: counts are off" in page
    asked = text(client.get(abandon).content.decode())
    assert "Gives up generation 2, of which 250 of 1,000 records are read. Generation 1 stays live" in asked
    given = {"reason": "not today", "shown": shown(operator, abandon)}
    for _ in range(2):
        assert client.post(abandon, given).status_code == 302
    assert generations_of(analytics) == [(1, "live"), (2, "abandoned")]
    assert acts() == [
        ("operator", "dashboard", "rebuild", "begun", "counts are off"),
        ("operator", "dashboard", "abandon", "abandoned", "not today"),
    ]


def test_a_refusal_is_said_and_changes_nothing(operator: User, orders: Consumer, analytics: Consumer) -> None:
    client = browser_of(operator)
    path = reverse("consumer-command", args=[analytics.name, "abandon"])
    answer = client.post(path, {"reason": "because"})
    assert answer.status_code == 409
    assert "By now no generation is half built" in text(answer.content.decode())
    for command in ("rebuild", "abandon"):  # of what is no projection
        path = reverse("consumer-command", args=[orders.name, command])
        assert client.get(path).status_code == client.post(path, {"reason": "because"}).status_code == 404
    assert acts() == []


def test_a_rebuild_that_nobody_carries_out_or_that_stopped_says_what_to_do(
    operator: User, analytics: Consumer
) -> None:
    path = reverse("consumer-command", args=["analytics", "rebuild"])
    browser_of(operator).post(path, {"reason": "counts are off", "shown": shown(operator, path)})
    long_ago = clock.now() - timedelta(minutes=1)
    RebuildRequest.objects.update(asked_at=long_ago)
    assert "It waits for a worker. Celery's worker and beat carry it out" in text(
        page_of(analytics, operator)
    )
    RebuildRequest.objects.update(told_at=long_ago, records=10)
    assert "No worker has gone on with it for 6" in text(page_of(analytics, operator))
    RebuildRequest.objects.update(error="Kafka no longer has all events")
    page = page_of(analytics, operator)
    assert "The rebuild has stopped" in page
    assert "Kafka no longer has all events" in page
    assert 'name="drop_history"' in browser_of(operator).get(path).content.decode()
    given = {"reason": "so be it", "drop_history": "on", "shown": shown(operator, path)}
    browser_of(operator).post(path, given)
    request = RebuildRequest.objects.get()
    assert (request.drop_history, request.error, request.why) == (True, "", "so be it")
    give_up(consumer=analytics, operator=Operator("anna"))


@pytest.mark.parametrize(
    ("waits", "members", "paused", "alarm", "word"),
    [
        (0.0, 1, "", "", "running"),
        (60.0, 1, "", "", "late"),
        (60.0, 1, "", "falling_behind", "falling behind"),
        (60.0, 0, "", "late", "no instance"),
        (60.0, 1, "anna", "late", "paused"),
        (60.0, 1, ITSELF, "", "paused by itself"),
        (60.0, 0, "anna", "", "paused, no instance"),
    ],
)
def test_what_stands_out_most_is_its_word(
    orders: Consumer, waits: float, members: int, paused: str, alarm: str, word: str
) -> None:
    behind(orders, 5, waits=waits, members=members)
    if paused:
        ConsumerState.objects.create(name="orders", paused_at=clock.now(), paused_by=paused)
    if alarm:
        Alarm.objects.create(subject="orders", cause=alarm)
    [standing] = standings([orders])
    assert standing.word == word
    said = " ".join(why.text for why in standing.reasons())
    typed = [why.remedy.command for why in standing.reasons() if why.remedy]
    assert typed == (["manage.py run_consumer orders"] if members == 0 else [])
    assert ("Paused by" in said) == bool(paused)


@pytest.mark.parametrize(
    ("events", "processed_before", "catch_up", "note"),
    [
        # In a minute 60 came in and 108 were processed: 0.8 a second fewer wait.
        (40, 852, "50 s", "until none is left"),
        (300, 700, "never", "at this rate"),
        (0, 940, "done", "nothing is left"),
        # Of 15.8 a second: as many come in, and two are on their way.
        (2, 50, "keeps up", "what is left is on its way"),
    ],
)
def test_it_is_said_when_it_will_have_caught_up(
    orders: Consumer, events: int, processed_before: int, catch_up: str, note: str
) -> None:
    behind(orders, events)
    sample(orders, 60, produced=940, processed=processed_before)
    [standing] = standings([orders])
    assert (str(standing.catch_up), standing.catch_up_note) == (catch_up, note)


def test_an_age_that_nobody_has_told_is_unknown(viewer: User, orders: Consumer) -> None:
    PartitionEnd.objects.create(topic="payments", partition=0, next_offset=7, told_at=clock.now())
    [standing] = standings([orders])
    assert standing.lag.events == 7
    assert not standing.seconds.known
    assert page_of(orders, viewer).count("Not known: no instance has said when the oldest") == 2


def test_an_end_that_nobody_has_told_is_unknown_and_nothing_is_said_to_be_done(
    operator: User, orders: Consumer
) -> None:
    Member.objects.create(consumer="orders", name="host:0", partitions=[["payments", 0]])
    now = clock.now()
    Position.objects.create(consumer="orders", topic="payments", partition=0, reached=4, clear_until=now)
    [standing] = standings([orders])
    assert (standing.state, standing.word) == ("none", "lag not known")
    assert not standing.events.known
    assert (standing.catch_up.known, standing.catch_up_note) == (False, "how much is left is not known")
    page = text(page_of(orders, operator))
    assert "payments/0 host:0 4 4 unknown unknown" in page
    assert "nothing is left" not in page
    asked = browser_of(operator).get(reverse("consumer-command", args=["orders", "pause"]))
    assert "an unknown number of events wait now" in text(asked.content.decode())


def test_what_was_not_known_is_a_gap_in_the_charts(orders: Consumer) -> None:
    now = clock.now()
    for ago, seconds in ((50, 2.0), (40, 2.0), (30, None), (20, 2.0), (10, 2.0)):
        sample(orders, ago, produced=100, processed=90, seconds=seconds, now=now)
    LagSample.objects.filter(seconds=None).update(events=None, produced=0)
    [standing] = standings([orders])
    assert standing.curve.path.count("M") == 2
    history = history_of(orders, WINDOWS["15m"], now=now)
    shown = [value for value in history.seconds if value is not None]
    assert (shown, history.seconds.count(None)) == ([2.0] * 4, len(history.slots) - 4)
    # What came in is known between the first two, and the last two: nothing did.
    assert [rate for rate in history.into if rate is not None] == [0.0, 0.0]


def test_the_members_and_what_they_read_are_shown_idle_ones_as_idle(viewer: User, orders: Consumer) -> None:
    behind(orders, 5, members=3)
    page = text(page_of(orders, viewer))
    assert "Instances 3 2 of them idle" in page
    assert "host:0 reads payments/0" in page
    assert "host:1 idle no partition is left for it" in page
    assert "payments/0 host:0 995 1000 5" in page


def test_one_that_was_killed_is_silent_and_then_read_for_by_another(viewer: User, orders: Consumer) -> None:
    behind(orders, 5, members=2)
    Member.objects.filter(name="host:0").update(seen_at=clock.now() - timedelta(seconds=4))
    page = text(page_of(orders, viewer))
    assert "orders silent" in text(list_of(viewer))
    assert "host:0 has said nothing for 4 s, and may be gone. If so, Kafka gives 1 partition to the" in page
    assert "Instances 2 1 of them silent, 1 idle" in page
    assert "host:0 silent payments/0 as it said last; it has said nothing for 4 s" in page
    assert "host:1 idle nothing yet: partitions of a silent one are shared out within seconds" in page
    assert "payments/0 host:0 , silent 995 1000 5" in page
    assert "no partition is left" not in page

    Member.objects.filter(name="host:1").update(partitions=[["payments", 0]], seen_at=clock.now())
    page = text(page_of(orders, viewer))
    assert "orders running" in text(list_of(viewer))
    assert "may be gone" not in page
    assert "Instances 2 1 of them silent" in page
    assert "host:0 silent nothing; it has said nothing for" in page
    assert "host:1 reads payments/0" in page
    assert "payments/0 host:1 995 1000 5" in page


def test_while_kafka_is_away_nobody_is_said_to_be_replaced(
    viewer: User, orders: Consumer, kafka: Kafka
) -> None:
    behind(orders, 5, members=2)
    Member.objects.filter(name="host:0").update(seen_at=clock.now() - timedelta(seconds=4))
    kafka.reading = Reading(None, None, clock.now(), "no broker")
    page = text(page_of(orders, viewer))
    assert "silent" not in page.replace("One that has said nothing for three seconds is silent", "")
    assert "shared out within seconds" not in page


def test_one_that_is_paused_neither_reads_nor_catches_up(viewer: User, orders: Consumer) -> None:
    behind(orders, 5)
    sample(orders, 60, produced=940, processed=990)
    ConsumerState.objects.create(name="orders", paused_at=clock.now(), paused_by="anna")
    page = text(page_of(orders, viewer))
    assert "host:0 paused payments/0" in page
    assert "Catch-up paused until it is resumed" in page


@pytest.mark.parametrize(
    ("events", "produced", "processed", "word"),
    [
        (0, 940, 940, "running"),
        # Of 11 a second one is on its way.
        (1, 340, 339, "running"),
        # More was done than came in.
        (40, 940, 852, "running"),
        (300, 700, 700, "falling behind"),
    ],
)
def test_what_has_recovered_is_no_longer_said_to_be_ill(
    orders: Consumer, events: int, produced: int, processed: int, word: str
) -> None:
    behind(orders, events)
    sample(orders, 60, produced=produced, processed=processed)
    for cause in ("late", "falling_behind"):
        Alarm.objects.create(subject="orders", cause=cause)
    [standing] = standings([orders])
    assert standing.word == word
    assert [why.text for why in standing.reasons()] == ["Slower than what comes in"] * (word != "running")


def test_an_alarm_of_which_nobody_knows_whether_it_is_over_says_so_and_since_when(orders: Consumer) -> None:
    behind(orders, 5)
    Position.objects.update(clear_until=None)
    TopicRecord.objects.create(name="payments", partitions=2, applied_at=clock.now())
    unknown = clock.now() - timedelta(hours=3)
    for cause in ("late", "falling_behind"):
        Alarm.objects.create(subject="orders", cause=cause, unknown_since=unknown)
    [standing] = standings([orders])
    assert standing.word == "lag not known"
    assert [(why.text, why.since) for why in standing.reasons() if why.state == "none"] == [
        ("Slower than what comes in; not known to be over", unknown),
        ("Later than its limit of 5 s; not known to be over", unknown),
    ]


def test_while_kafka_is_away_that_is_said_and_no_instance_is_blamed(
    viewer: User, orders: Consumer, kafka: Kafka
) -> None:
    behind(orders, 5, waits=60.0, members=2)
    Member.objects.update(partitions=[])
    Alarm.objects.create(subject="orders", cause="falling_behind")
    kafka.reading = Reading(None, None, clock.now(), "no broker")
    for page in (list_of(viewer), page_of(orders, viewer)):
        said = text(page)
        assert "Kafka does not answer." in said
        assert "no broker" in said
        assert "orders waits for Kafka" in said
        for wrong in ("Nobody reads", "started again", "of them idle", "Slower than"):
            assert wrong not in said
    assert "host:1 waits for Kafka partitions are shared out when Kafka is back" in text(
        page_of(orders, viewer)
    )
    of_all, of_one = Asked(may_act=False), Asked(may_act=False, name="orders", window="15m")
    for regions_ in (read_list([of_all])[of_all], read_one([of_one])[of_one]):
        assert "Kafka does not answer" in regions_["kafka"]
        assert "waits for Kafka" in regions_["state-orders"]


@pytest.mark.parametrize(("answers", "state"), [(None, "warn"), (True, "bad")])
def test_an_instance_is_to_be_started_again_only_where_kafka_answers(
    orders: Consumer, answers: bool | None, state: str
) -> None:
    behind(orders, 5, members=1)
    Member.objects.update(partitions=[])
    [standing] = standings([orders], kafka=answers)
    [why] = standing.reasons()
    assert why.state == state
    assert "Nobody reads 1 of its partitions" in why.text
    assert ("started again" in why.text) == bool(answers)


def test_hostile_words_stay_text(operator: User, orders: Consumer, analytics: Consumer) -> None:
    Member.objects.create(consumer="analytics", name=HOSTILE, partitions=[["payments", 0]])
    client = browser_of(operator)
    for command in ("pause", "rebuild"):
        client.post(reverse("consumer-command", args=["analytics", command]), {"reason": HOSTILE})
    RebuildRequest.objects.update(note=HOSTILE, error=HOSTILE)
    pages = [page_of(analytics, operator), client.get(reverse("consumers")).content.decode()]
    asked = Asked(True, "analytics", "15m")
    pages += [*read_one([asked])[asked].values(), *read_list([asked])[asked].values()]
    for command in COMMANDS:
        path = reverse("consumer-command", args=["analytics", command])
        pages += [
            client.get(path).content.decode(),
            client.post(path, {"reason": HOSTILE * 30}).content.decode(),
        ]
    seek = reverse("consumer-seek", args=["analytics"])
    pages.append(client.get(seek, {"to": HOSTILE}).content.decode())
    assert sum("&lt;img" in page for page in pages) > 8
    for page in pages:
        assert HOSTILE not in page


def test_a_window_shows_the_worst_of_each_slot_and_real_rates(orders: Consumer) -> None:
    end = datetime.fromtimestamp(clock.now().timestamp() // 300 * 300, UTC)
    for number in range(12):
        sample(
            orders,
            120 - 10 * number,
            now=end,
            produced=100 + 20 * number,
            processed=100 + 10 * number,
            seconds=float(number),
        )
    found = history_of(orders, WINDOWS["15m"], now=end)
    assert len(found.slots) == 90
    assert [value for value in found.seconds if value is not None] == [float(number) for number in range(12)]
    assert {value for value in found.into if value is not None} == {2.0}
    assert {value for value in found.out if value is not None} == {1.0}
    # An offset that was set back is no rate.
    sample(orders, 0, now=end, produced=320, processed=0)
    history._history.cache_clear()
    assert history_of(orders, WINDOWS["15m"], now=end).out[-1] == 0.0
    day = history_of(orders, WINDOWS["24h"], now=end)
    assert len(day.slots) == 288
    assert max(value for value in day.seconds if value is not None) == 11.0


def test_what_operators_did_is_found_by_an_index(orders: Consumer) -> None:
    name = f"c-{uuid4().hex}"
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT * FROM outbox_act WHERE consumer = %s AND topic = '' ORDER BY id DESC LIMIT 20",
            [name],
        )
        plan = " ".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "outbox_act_steering_idx" in plan


def test_a_slow_count_of_dead_letters_leaves_all_else_known(
    orders: Consumer, staff: User, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "STATEMENT_TIMEOUT_MS", 300)
    of_all, of_one = Asked(may_act=False), Asked(may_act=False, name="orders", window="15m")
    with locked(stack, "LOCK TABLE outbox_dead_letter IN ACCESS EXCLUSIVE MODE"):
        answers = list_page.answers([of_all])[of_all], one_page.answers([of_one])[of_one]
        pages = [text(page_of(orders, staff)), text(list_of(staff))]
    for answer in answers:
        assert set(answer.slow) == {"aside"}
        assert "state-orders" in answer.regions
        assert "aside-orders" not in answer.regions
    for page in pages:
        assert "dead letters: not known" in page
        assert "no instance" in page
    assert "no dead letters, no parked keys" in text(page_of(orders, staff))
