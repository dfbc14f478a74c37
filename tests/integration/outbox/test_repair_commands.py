"""manage.py replay, discard and release; and events of the outbox once more, to Kafka or to one consumer."""

import io
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from pytest_django import Settings

from outbox import publish
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.consumer_models import TopicBeginning
from outbox.errors import NothingSelected
from outbox.ids import lowest_id
from outbox.kafka import BrokerError, RecordProducer
from outbox.models import DeadLetter, InboxEntry, OutboxEvent, ParkedKey, Publication, Refusal
from outbox.pages import Page
from outbox.registry import handles
from outbox.relay import Relay
from outbox.repair import again, releasing
from outbox.repair.acts import Act, Operator
from outbox.repair.matching import Selection, replay_matching
from tests.engine import Noted, Running, all_records, new_topic, noted_on, numbers_by_key, until
from tests.integration.compensation.world import as_record
from tests.integration.outbox import test_processor as processing
from tests.integration.outbox.test_processor import Refused, Service, notes
from tests.integration.outbox.test_replaying import assert_nothing_is_left, deliver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

service = processing.service
ANNA = Operator("anna")


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands take over SIGINT and SIGTERM: not those of the tests' process."""
    monkeypatch.setattr("outbox.stopping.signal.signal", lambda *_: None)


def manage(*words: str) -> str:
    said = io.StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


def refused_by(*words: str) -> str:
    with pytest.raises(CommandError) as error:
        manage(*words)
    return str(error.value)


@pytest.fixture
def letters(service: Service) -> list[DeadLetter]:
    """Three keys, each with a letter and an event that waits behind it."""
    for number, key in enumerate("abc", start=1):
        service.fails[f"bad {key}"] = Refused("no") if number < 3 else LookupError("nothing there")
        bad, waits = notes(key, f"bad {key}", f"waits {key}")
        try:
            service.run(bad)
        except (Refused, LookupError) as error:
            service.processor.condemn(error, attempts=1)
            service.run(bad)
        service.run(waits)
    service.fails.clear()
    return list(DeadLetter.objects.order_by("key"))


def test_all_that_match_are_replayed(service: Service, letters: list[DeadLetter]) -> None:
    said = manage("replay", "--cause", "Refused", "--by", "anna", "--reason", "the deploy")
    assert said.splitlines()[-1] == "Of 2: 2 processed."
    assert service.heard() == ["bad a", "waits a", "bad b", "waits b"]
    assert {(act.who, act.why, act.via) for act in Act.objects.all()} == {("anna", "the deploy", "command")}
    manage("replay", "--all")
    assert_nothing_is_left(service, processed=6)


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (lambda letter: ["--event", str(letter.event_id)], "b"),
        (lambda letter: ["--key", "b"], "b"),
        (lambda letter: ["--topic", "notes"], "abc"),
        (lambda letter: ["--topic", "other"], ""),
        (lambda letter: ["--type", letter.type], "abc"),
        (lambda letter: ["--consumer", letter.consumer, "--cause", "LookupError"], "c"),
        (lambda letter: ["--consumer", "nobody"], ""),
        (lambda letter: ["--cause", letter.fingerprint], "ab"),
        (lambda letter: ["--since", letter.died_at.isoformat()], "bc"),
        (lambda letter: ["--until", letter.died_at.isoformat()], "a"),
    ],
)
def test_filters_say_which_are_meant(
    service: Service, letters: list[DeadLetter], asked: Callable[[DeadLetter], list[str]], keys: str
) -> None:
    manage("replay", *asked(letters[1]))
    replayed = DeadLetter.objects.filter(state="replayed").order_by("key").values_list("key", flat=True)
    assert "".join(key or "" for key in replayed) == keys


def test_nothing_is_done_without_a_filter_or_with_bad_ones(
    service: Service, letters: list[DeadLetter]
) -> None:
    assert "give a filter" in refused_by("replay")
    assert "offset" in refused_by("replay", "--since", "2026-01-02T03:04:05")
    assert "how many a second" in refused_by("replay", "--all", "--rate", "0")
    assert "required: --reason" in refused_by("discard", "--all")
    assert "a reason is missing" in refused_by("discard", "--all", "--reason", " ")
    assert "--consumer" in refused_by("replay", "--all", "--from-outbox")
    assert "--cause is of dead letters" in refused_by("replay", "--to-kafka", "--cause", "Refused")
    with pytest.raises(NothingSelected):
        Selection().letters()
    assert service.heard() == []
    assert not Act.objects.exists()


def test_a_dry_run_counts_and_shows_a_sample_and_does_nothing(
    service: Service, letters: list[DeadLetter]
) -> None:
    for command in (["replay"], ["discard", "--reason", "r"]):
        said = manage(*command, "--all", "--dry-run")
        assert f"2 of {service.consumer.name}: Refused (fingerprint {letters[0].fingerprint})" in said
        assert str(letters[2].event_id) in said
        assert said.endswith("3 dead letters match. Nothing was done.\n")
    assert service.heard() == []
    assert DeadLetter.objects.filter(state="open").count() == 3
    assert not Act.objects.exists()


def test_what_dies_again_is_said_and_ends_in_an_error(service: Service, letters: list[DeadLetter]) -> None:
    service.fails["bad b"] = Refused("still not")
    said = io.StringIO()
    with pytest.raises(CommandError, match="Some died again"):
        call_command("replay", "--all", stdout=said)
    assert f"{letters[1].id}: died. It died again: Refused: still not" in said.getvalue()
    assert said.getvalue().splitlines()[-1] == "Of 3: 1 died again, 2 processed."
    assert service.heard() == ["bad a", "waits a", "bad c", "waits c"]


def test_one_letter_is_corrected_from_a_file(
    service: Service, letters: list[DeadLetter], tmp_path: Path
) -> None:
    data = tmp_path / "data.json"
    assert "cannot be read" in refused_by("replay", "--key", "a", "--data", str(data))
    data.write_text('{"about": "a", "text": "good"}')
    assert "Several match" in refused_by("replay", "--all", "--data", str(data))
    assert "None matches" in refused_by("replay", "--key", "z", "--data", str(data))
    said = manage("replay", "--key", "a", "--data", str(data))
    assert said.startswith("It has been processed with changed data; 1 that waited ran")
    assert service.heard() == ["good", "waits a"]
    data.write_text('{"about": 1}')
    assert "Expected `str`" in refused_by("replay", "--key", "b", "--data", str(data))


def test_all_that_match_are_discarded(service: Service, letters: list[DeadLetter]) -> None:
    assert (
        manage("discard", "--cause", "Refused", "--reason", "a test").splitlines()[-1] == "Of 2: 2 discarded."
    )
    assert service.heard() == ["waits a", "waits b"]
    assert service.outcomes() == {"discarded": 2, "processed": 2, "dead": 1, "parked": 1}


def test_a_gap_is_released_by_its_key(service: Service) -> None:
    deliver(service, *notes("a", "1"), *notes("a", "3", first=3))
    words = ["release", "--consumer", service.consumer.name, "--reason", "lost"]
    assert "No such key" in refused_by(*words, "--key", "b")
    assert manage(*words, "--key", "a") == "It is released without number 2; 1 that waited ran.\n"
    assert service.heard() == ["1", "3"]


def test_all_gaps_of_a_consumer_are_released(service: Service, letters: list[DeadLetter]) -> None:
    for key in ("x", "y"):
        deliver(service, *notes(key, f"{key}1"), *notes(key, f"{key}3", first=3))
    words = ["release", "--consumer", service.consumer.name, "--reason", "lost", "--all"]
    assert manage(*words, "--dry-run").splitlines()[-1] == "2 keys are parked by a gap. Nothing was done."
    assert manage(*words, "--topic", "other").splitlines()[-1] == "Of 0: none."
    before = ParkedKey.objects.filter(cause="dead_letter").count()
    assert manage(*words).splitlines()[-1] == "Of 2: 2 released."
    assert service.heard()[-2:] == ["x3", "y3"]
    assert [row.cause for row in ParkedKey.objects.all()] == ["dead_letter"] * before
    assert {(act.act, act.why) for act in Act.objects.all()} == {("release", "lost")}


class Impatient(threading.Event):
    """Waits for nothing, and keeps for how long it was to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return False


def test_a_rate_is_kept_to(service: Service, letters: list[DeadLetter]) -> None:
    stop = Impatient()
    results = replay_matching(
        selection=Selection(everything=True), operator=ANNA, told=lambda *_: None, rate=0.001, stop=stop
    )
    assert results.total() == 3
    first, *others = stop.waits
    assert first == 0.0
    assert [wait > 500 for wait in others] == [True, True]


def test_one_that_is_told_to_stop_leaves_the_rest(service: Service, letters: list[DeadLetter]) -> None:
    stop = threading.Event()
    results = replay_matching(
        selection=Selection(everything=True), operator=ANNA, told=lambda *_: stop.set(), stop=stop
    )
    assert results.total() == 1
    assert service.heard() == ["bad a", "waits a"]


def test_on_a_terminal_it_shows_a_bar_and_what_went_wrong_as_it_is(
    service: Service,
    letters: list[DeadLetter],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.fails["bad b"] = Refused("[red]no markup[/red]")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(CommandError, match="Some died again"):
        call_command("replay", "--all")
    shown = capsys.readouterr().out
    assert "3/3" in shown
    assert "[red]no markup[/red]" in shown


def test_a_letter_held_by_another_is_told_of_and_the_rest_go_on(
    service: Service, letters: list[DeadLetter]
) -> None:
    DeadLetter.objects.filter(id=letters[0].id).update(generation=9)
    said = manage("replay", "--all")
    assert "which generation 1 has replaced" in said
    assert said.splitlines()[-1] == "Of 3: 1 with nothing to be done, 2 processed."


@pytest.fixture
def sent(service: Service) -> tuple[Service, type[Noted]]:
    """Events 1 to 4 of two keys, in Kafka; nobody has read them."""
    noted = noted_on(new_topic(partitions=2))
    handles(service.consumer, type("Other", (noted,), {"type": "tests.Other.v1", "__annotations__": {}}))(
        service.handle
    )
    service.consumer.routes[Noted.type] = type(service.consumer.routes[Noted.type])(noted, service.handle)
    with transaction.atomic():
        for number in range(1, 5):
            for key in "xy":
                publish(noted(about=key, text=f"{key}{number}"))
    with Running(lambda stop: Relay(stop=stop)):
        until(lambda: Publication.objects.count() >= 8)
    return service, noted


def test_events_go_to_kafka_again_in_order_under_their_ids(sent: tuple[Service, type[Noted]]) -> None:
    service, noted = sent
    ids = [str(event.id) for event in OutboxEvent.objects.filter(key="x").order_by("position")]
    said = manage("replay", "--to-kafka", "--topic", noted.topic.name, "--key", "x", "--reason", "lost")
    assert said.splitlines()[-1] == "Of 4: 4 sent."
    records = [record for record in all_records(noted.topic) if record.key == b"x"]
    assert [(dict(record.headers)["ce_id"] or b"").decode() for record in records] == ids * 2
    assert numbers_by_key(records) == {"x": [1, 2, 3, 4]}
    assert Publication.objects.count() == 12
    acts = Act.objects.order_by("id")
    assert {(act.act, act.result, act.why) for act in acts} == {("resend", "sent", "lost")}
    assert {str(act.event_id) for act in acts} == set(ids)
    with Running(lambda stop: ConsumerWorker(service.consumer, stop=stop)):
        until(lambda: InboxEntry.objects.count() == 8)
    assert sorted(service.heard()) == sorted(f"{key}{number}" for number in range(1, 5) for key in "xy")


class Killed(BaseException):
    """The process has ended."""


def test_what_was_sent_by_a_process_that_died_is_written_down_as_pending(
    sent: tuple[Service, type[Noted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, noted = sent

    def killed(self: Page, *, now: datetime) -> str:
        raise Killed

    monkeypatch.setattr(Page, "traces", killed)  # what is first written down after the sending
    with pytest.raises(Killed):
        manage("replay", "--to-kafka", "--topic", noted.topic.name, "--key", "x", "--by", "anna")
    assert len([record for record in all_records(noted.topic) if record.key == b"x"]) == 8
    acts = list(Act.objects.order_by("id"))
    assert [(act.who, act.act, act.result, act.key) for act in acts] == [
        ("anna", "resend", "pending", "x")
    ] * 4
    assert {act.detail for act in acts} == {"Begun; whether Kafka has it is not known."}


def test_a_pending_act_is_completed_once_and_nothing_else_of_it_changes(
    sent: tuple[Service, type[Noted]],
) -> None:
    event = OutboxEvent.objects.earliest("position")
    act = Act.objects.create(
        who="anna", via="command", act="resend", why="", consumer="", topic=event.topic,
        event_id=event.id, result="pending", error="", ran=0, waiting=0,
    )  # fmt: skip
    mine = Act.objects.filter(id=act.id)
    for refused in ({"who": "bert"}, {"result": "sent", "who": "bert"}, {"result": "died"}, {"detail": "d"}):
        with pytest.raises(DatabaseError, match="append-only"):
            mine.update(**refused)
    mine.update(result="sent", detail="It is at t/0/1.")
    with pytest.raises(DatabaseError, match="append-only"):
        mine.update(result="nothing")
    with pytest.raises(DatabaseError, match="append-only"):
        mine.delete()


def test_what_kafka_has_not_had_is_left_to_the_relay(sent: tuple[Service, type[Noted]]) -> None:
    """Sent now, the new event would come before the one that is held, and out of its order."""
    _, noted = sent
    with transaction.atomic():
        publish(noted(about="x", text="x5"))
    held = OutboxEvent.objects.get(key="y", number=4)
    Refusal.objects.create(
        event_id=held.id,
        position=held.position,
        topic=held.topic,
        key="y",
        cause="c",
        refused_at=held.occurred_at,
    )
    said = manage("replay", "--to-kafka", "--topic", noted.topic.name)
    assert said.startswith("2 more match that Kafka has not had: they are left to the relay.")
    assert said.splitlines()[-1] == "Of 7: 7 sent."
    assert not any(b"x5" in (record.value or b"") for record in all_records(noted.topic))
    assert manage("replay", "--to-kafka", "--type", "nothing").splitlines()[-1] == "Of 0: none."


def test_a_dry_run_sends_nothing(sent: tuple[Service, type[Noted]]) -> None:
    _, noted = sent
    said = manage("replay", "--to-kafka", "--topic", noted.topic.name, "--dry-run")
    assert said.endswith("8 events match. Nothing was done.\n")
    assert len(all_records(noted.topic)) == 8
    assert not Act.objects.exists()


def test_a_span_of_time_says_which_events_are_meant(sent: tuple[Service, type[Noted]]) -> None:
    _, noted = sent
    event = OutboxEvent.objects.earliest("position")
    topic = noted.topic.name
    assert again.count(Selection(topic=topic, since=event.occurred_at)) == (8, 0)
    assert again.count(Selection(topic=topic, until=event.occurred_at)) == (0, 0)
    assert lowest_id(event.occurred_at) <= event.id


def test_a_consumer_that_missed_an_event_has_it_from_the_outbox(sent: tuple[Service, type[Noted]]) -> None:
    service, _ = sent
    one, two, three, four = map(as_record, OutboxEvent.objects.filter(key="x").order_by("position"))
    deliver(service, one, three)
    assert ParkedKey.objects.get().cause == "gap"
    words = ["replay", "--from-outbox", "--consumer", service.consumer.name, "--key", "x"]
    said = manage(*words)
    assert "Dropped" in said
    assert said.splitlines()[-1] == "Of 4: 2 with nothing to be done, 2 processed."
    assert service.heard() == ["x1", "x2", "x3", "x4"]
    manage(*words)
    deliver(service, two, four)
    assert service.heard() == ["x1", "x2", "x3", "x4"]
    assert not ParkedKey.objects.exists()
    told = {act.event_id: act.result for act in Act.objects.order_by("id")}
    assert set(told.values()) == {"nothing"}


def test_what_waits_for_an_event_from_the_outbox_runs_in_bounded_transactions(
    sent: tuple[Service, type[Noted]], settings: Settings
) -> None:
    service, _ = sent
    one, _, three, four = map(as_record, OutboxEvent.objects.filter(key="x").order_by("position"))
    deliver(service, one, three, four)
    settings.OUTBOX = {**settings.OUTBOX, "CONSUMER_BATCH": 2}
    config.cache_clear()
    manage("replay", "--from-outbox", "--consumer", service.consumer.name, "--key", "x")
    assert service.heard() == ["x1", "x2", "x3"]
    assert ParkedKey.objects.get().cause == "released"
    assert releasing.go_on_with_all() == 1
    assert service.heard() == ["x1", "x2", "x3", "x4"]
    assert not ParkedKey.objects.exists()


def test_an_event_given_to_a_consumer_before_its_turn_waits_for_it(sent: tuple[Service, type[Noted]]) -> None:
    """What the consumer has yet to read of the key comes first, where it reads from the first record on."""
    service, noted = sent
    name = service.consumer.name
    TopicBeginning.objects.create(consumer=name, generation=1, topic=noted.topic.name, is_whole=True)
    one, two, *_ = OutboxEvent.objects.filter(key="x").order_by("position")
    manage("replay", "--from-outbox", "--consumer", name, "--event", str(two.id))
    assert service.heard() == []
    deliver(service, as_record(one), as_record(two))
    assert service.heard() == ["x1", "x2"]
    assert not ParkedKey.objects.exists()


def test_what_fails_from_the_outbox_is_a_dead_letter(sent: tuple[Service, type[Noted]]) -> None:
    service, _ = sent
    service.fails["x1"] = Refused("no")
    with pytest.raises(CommandError, match="Some died again"):
        manage("replay", "--from-outbox", "--consumer", service.consumer.name, "--key", "x")
    assert service.outcomes() == {"dead": 1, "parked": 3}


def test_with_kafka_away_what_was_told_is_done_and_the_rest_is_not(
    sent: tuple[Service, type[Noted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, noted = sent

    def away(self: RecordProducer, timeout: float) -> None:
        raise BrokerError("nobody answers")

    monkeypatch.setattr(RecordProducer, "poll", away)
    assert "nobody answers" in refused_by("replay", "--to-kafka", "--topic", noted.topic.name)
    assert set(Act.objects.values_list("result", flat=True)) == {"pending"}  # Kafka may have some of it
    assert Publication.objects.count() == 8
