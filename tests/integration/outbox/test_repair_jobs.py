"""Acts on many dead letters by workers: each letter once, whatever is killed, and no further once stopped."""

import math
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.db.models import F, QuerySet

from outbox import Delivery
from outbox.errors import NoSuchJob, NothingSaid, NothingSelected
from outbox.models import DeadLetter, LetterState, WaitingEvent
from outbox.registry import Route
from outbox.repair import jobs, letters, releasing, working
from outbox.repair.acts import Act, Operator, Via
from outbox.repair.jobs import Failure, RepairJob
from outbox.repair.matching import Selection, extent
from outbox.suspects import DEATHS
from tests.engine import Noted
from tests.integration.at_once import at_once
from tests.integration.outbox import test_processor as processing
from tests.integration.outbox.test_processor import Refused, Service, notes
from tests.integration.outbox.test_replaying import deliver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

service = processing.service
ANNA = Operator("anna", "it was the deploy", Via.DASHBOARD)
ALL = Selection(everything=True)


def died(service: Service, *keys: str, waiting: int = 1) -> list[DeadLetter]:
    """A letter of each key, with events behind it."""
    for key in keys:
        service.fails[key] = Refused(f"{key} is refused")
        deliver(service, *notes(key, key, *(f"{key}{number}" for number in range(waiting))))
    return list(DeadLetter.objects.order_by("died_at", "id"))


def acts() -> QuerySet[Act]:
    """What was done about letters; not that a job was begun or stopped."""
    return Act.objects.exclude(result__in=["begun", "stopped"])


def work(job: RepairJob) -> RepairJob:
    working.work()
    job.refresh_from_db()
    return job


def test_a_job_replays_each_letter_and_what_waits_once(service: Service) -> None:
    died(service, "a", "b", "c")
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    assert (job.total, job.more, job.state) == (3, False, "running")
    assert working.work() == 3
    job.refresh_from_db()
    assert (job.state, job.results, job.ran) == ("done", {"replayed": 3}, 3)
    assert Counter(service.heard()) == Counter(["a", "a0", "b", "b0", "c", "c0"])
    assert {(act.who, act.via, act.why) for act in acts()} == {("anna", "dashboard", "it was the deploy")}
    assert working.work() == 0
    assert acts().count() == 3


def test_what_dies_again_or_meanwhile_is_not_acted_on_twice(service: Service) -> None:
    died(service, "a", "b")
    del service.fails["b"]
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    died(service, "late")
    work(job)
    assert (job.state, job.results) == ("done", {"died": 1, "replayed": 1})
    assert acts().count() == 2
    assert {letter.key for letter in DeadLetter.objects.filter(state=LetterState.OPEN)} == {"a", "late"}


def test_what_is_refused_is_said_to_be_and_passed(service: Service) -> None:
    died(service, "a", "b", waiting=0)
    service.fails.clear()
    DeadLetter.objects.filter(key="a").update(generation=7)
    job = work(jobs.begin(act="replay", selection=ALL, operator=ANNA))
    assert (job.state, job.results) == ("done", {"nothing": 1, "replayed": 1})


def test_a_discard_says_why_and_a_selection_says_which(service: Service) -> None:
    found = died(service, "a", "b", "c")
    with pytest.raises(NothingSaid):
        jobs.begin(act="discard", selection=ALL, operator=Operator("anna"))
    with pytest.raises(NothingSelected):
        jobs.begin(act="replay", selection=Selection(), operator=ANNA)
    chosen = Selection(ids=(found[0].id, found[2].id))
    work(jobs.begin(act="discard", selection=chosen, operator=ANNA))
    assert [letter.state for letter in DeadLetter.objects.order_by("died_at", "id")] == [
        "discarded",
        "open",
        "discarded",
    ]


def test_a_form_sent_twice_is_one_job(service: Service) -> None:
    died(service, "a")
    job_id = uuid4()
    for _ in range(2):
        assert jobs.begin(act="replay", selection=ALL, operator=ANNA, job_id=job_id).id == job_id
    assert RepairJob.objects.count() == 1


def test_a_stopped_job_does_nothing_more(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    died(service, "a", "b", "c")
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    assert working.work(seconds=0) == 0
    for _ in ("marked", "acted on"):
        working._step(set(), using="default")  # one letter
    stopped = jobs.stop(job_id=job.id, operator=Operator("bert"))
    assert (stopped.state, stopped.ended_by, stopped.results) == ("stopped", "bert", {"replayed": 1})
    assert working.work() == 0
    assert jobs.stop(job_id=job.id, operator=ANNA).ended_by == "bert"
    assert DeadLetter.objects.filter(state=LetterState.OPEN).count() == 2
    with pytest.raises(NoSuchJob):
        jobs.stop(job_id=uuid4(), operator=ANNA)


def test_what_is_cut_short_between_the_act_and_its_progress_is_done_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The act and the job's progress are one transaction: of both, or of neither."""
    died(service, "a", "b")
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    with monkeypatch.context() as patch:

        def cut(*_: object, **__: object) -> None:
            raise OperationalError("the server is gone")

        patch.setattr(working, "_keep", cut)
        assert working.work() == 0
    job.refresh_from_db()
    assert (job.state, job.done, "the server is gone" in job.trouble) == ("running", 0, True)
    assert not acts().exists()
    assert service.heard() == []
    work(job)
    assert (job.state, job.results, job.trouble) == ("done", {"replayed": 2}, "")
    assert acts().count() == 2


def test_workers_at_the_same_time_act_once(service: Service) -> None:
    died(service, *"abcdefgh", waiting=0)
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    acted: list[int] = []
    while job.state == "running":  # one that finds another's mark leaves the job to its next turn
        acted += at_once(*[partial(working.work, seconds=60.0)] * 3)
        job.refresh_from_db()
    assert (sum(acted), job.state, job.results) == (8, "done", {"replayed": 8})
    assert acts().count() == 8
    assert sorted(service.heard()) == list("abcdefgh")


def test_a_stop_waits_for_nobody(service: Service) -> None:
    """The letter in hand is finished, and no other begun."""
    died(service, "a", "b", waiting=0)
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    handle = service.handle
    stopped: list[object] = []

    def stop_meanwhile(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        stopped.extend(at_once(lambda: jobs.stop(job_id=job.id, operator=Operator("bert")).state))

    service.consumer.routes[Noted.type] = Route(Noted, stop_meanwhile)
    work(job)
    assert stopped == ["stopped"]
    assert (job.state, job.ended_by, job.results) == ("stopped", "bert", {"replayed": 1})
    assert [(act.who, act.act, act.result) for act in Act.objects.order_by("id")] == [
        ("anna", "replay", "begun"),
        ("bert", "replay", "stopped"),
        ("anna", "replay", "replayed"),
    ]
    assert set(Act.objects.values_list("job_id", flat=True)) == {job.id}


def test_a_rate_is_kept_to(service: Service) -> None:
    died(service, "a", "b", "c", waiting=0)
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA, per_second=0.001)
    assert (working.work(seconds=0.5), working.work(seconds=0.5)) == (1, 0)
    RepairJob.objects.update(per_second=1_000)
    assert work(job).results == {"replayed": 3}
    for rate in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="letters a second"):
            jobs.begin(act="replay", selection=ALL, operator=ANNA, per_second=rate)


def test_a_letter_that_kills_its_workers_is_passed_over_at_its_third_death(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly, _ = died(service, "a", "b", waiting=0)
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    handle, tries = service.handle, 0

    def kill(delivery: Delivery[Noted]) -> None:
        nonlocal tries
        if delivery.event.text == "a":
            tries += 1
            raise SystemExit  # of the worker's process nothing is left to tell of it
        handle(delivery)

    service.consumer.routes[Noted.type] = Route(Noted, kill)
    for number in range(3):
        monkeypatch.setattr("outbox.in_hand.me", lambda number=number: f"worker-{number}")
        with suppress(SystemExit):
            working.work()
        monkeypatch.setattr("outbox.in_hand.me", lambda: "another worker")
        assert working.work() == 0  # while the mark is fresh
        job.refresh_from_db()
        assert (job.in_hand, job.in_hand_by, job.deaths) == (deadly.id, f"worker-{number}", number)
        RepairJob.objects.update(in_hand_at=F("in_hand_at") - timedelta(minutes=1))
    monkeypatch.setattr("outbox.in_hand.me", lambda: "worker-4")
    work(job)
    assert tries == 3
    assert (job.state, job.results) == ("done", {"died": 1, "replayed": 1})
    act = acts().get(letter_id=deadly.id)
    assert "3 processes died with it in hand" in act.error
    deadly.refresh_from_db()
    assert deadly.state == LetterState.OPEN


def test_after_a_death_a_letter_is_acted_on_without_what_waits(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = died(service, "a", waiting=2)
    service.fails.clear()
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    RepairJob.objects.update(in_hand=letter.id, deaths=1)
    assert work(job).results == {"replayed": 1}
    assert service.heard() == ["a"]
    assert releasing.go_on_with_all() == 2
    assert service.heard() == ["a", "a0", "a1"]


def test_a_worker_that_comes_away_alive_is_no_death(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = died(service, "a", waiting=0)
    service.fails["a"] = OperationalError("the database is away")
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    for number in range(DEATHS + 1):
        monkeypatch.setattr("outbox.in_hand.me", lambda number=number: f"worker-{number}")
        work(job)
        assert (job.in_hand, job.in_hand_by, job.deaths) == (letter.id, "", 0)
        RepairJob.objects.update(in_hand_at=F("in_hand_at") - timedelta(minutes=1))
    service.fails.clear()
    assert work(job).results == {"replayed": 1}


def test_deaths_are_not_forgotten_by_a_worker_without_time(service: Service) -> None:
    (letter,) = died(service, "a", waiting=0)
    job = jobs.begin(act="replay", selection=ALL, operator=ANNA)
    RepairJob.objects.update(in_hand=letter.id, deaths=1)
    assert working.work(seconds=0.0005) == 0  # which are over once the letter is marked
    job.refresh_from_db()
    assert job.in_hand_at is not None
    assert (job.in_hand, job.in_hand_by, job.deaths) == (letter.id, "", 1)


def test_one_job_that_cannot_go_on_keeps_no_other_back(service: Service) -> None:
    first, second = died(service, "a", "b", waiting=0)
    service.fails.clear()
    service.fails["a"] = OperationalError("its database is away")
    one = jobs.begin(act="replay", selection=Selection(ids=(first.id,)), operator=ANNA)
    two = jobs.begin(act="replay", selection=Selection(ids=(second.id,)), operator=ANNA)
    work(one)
    two.refresh_from_db()
    assert (one.state, one.done, "its database is away" in one.trouble) == ("running", 0, True)
    assert (two.state, two.results) == ("done", {"replayed": 1})
    first.refresh_from_db()
    assert first.attempts == 1
    service.fails.clear()
    assert work(one).results == {"replayed": 1}


def test_the_extent_counts_letters_keys_and_what_waits(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = died(service, "a", "b", waiting=2)
    reach = extent(ALL)
    assert (reach.letters, reach.keys, reach.waiting, reach.more) == (2, 2, 4, False)
    assert extent(Selection(ids=(found[0].id,))).waiting == 2
    assert reach.consequence("discard") == (
        "Discards 2 events of 2 keys; 4 waiting events will then run, in order, up to the next failure."
    )
    monkeypatch.setattr("outbox.repair.matching.MOST_COUNTED", 1)
    assert extent(ALL).more
    assert extent(ALL).consequence("replay").startswith("Replays at least 1 event of 1 key")


def test_a_dry_run_takes_all_of_it_back(service: Service) -> None:
    (letter,) = died(service, "a", waiting=2)
    again = letters.replay(letter_id=letter.id, operator=ANNA, dry_run=True)
    assert (again.result, "a is refused" in again.error) == ("died", True)
    service.fails.clear()
    report = letters.replay(letter_id=letter.id, operator=ANNA, dry_run=True)
    assert report.detail == "It has been processed; 2 that waited ran."
    assert (service.heard(), acts().count(), RepairJob.objects.count()) == ([], 0, 0)
    fresh = DeadLetter.objects.get()
    assert (fresh.state, fresh.attempts, fresh.died_at) == ("open", letter.attempts, letter.died_at)


def test_a_dry_run_says_what_would_come_of_each_and_keeps_nothing(service: Service) -> None:
    died(service, "a", "b", "c")
    del service.fails["a"], service.fails["b"]
    before = (
        list(DeadLetter.objects.order_by("id").values()),
        list(WaitingEvent.objects.order_by("id").values()),
    )
    job = work(jobs.begin(act="dry_run", selection=ALL, operator=ANNA))
    assert (job.state, job.results, job.ran) == ("done", {"replayed": 2, "died": 1}, 2)
    [failure] = job.would_fail
    letter = DeadLetter.objects.get(key="c")
    told = (letter.fingerprint, f"Refused: {letter.error}", 1)
    assert (failure.fingerprint, failure.error, failure.letters) == told
    after = (
        list(DeadLetter.objects.order_by("id").values()),
        list(WaitingEvent.objects.order_by("id").values()),
    )
    assert after == before
    assert service.heard() == []
    assert not Act.objects.exists()
    stopped = jobs.begin(act="dry_run", selection=ALL, operator=ANNA)
    assert jobs.stop(job_id=stopped.id, operator=ANNA).state == "stopped"
    assert not Act.objects.exists()


def test_a_dry_run_tells_errors_of_one_place_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    died(service, "a", "b", "c")  # whose messages are all different
    job = work(jobs.begin(act="dry_run", selection=ALL, operator=ANNA))
    assert [failure.letters for failure in job.would_fail] == [3]
    monkeypatch.setattr("outbox.repair.jobs.MOST_FAILURES", 0)
    job = work(jobs.begin(act="dry_run", selection=ALL, operator=ANNA))
    assert (job.results, job.would_fail) == ({"died": 3}, [Failure("others", "", 3)])


def test_a_dry_run_says_behind_how_many_an_event_would_die(service: Service) -> None:
    died(service, "a", "b", waiting=2)
    del service.fails["a"], service.fails["b"]
    service.fails["b1"] = Refused("b1 is refused")
    job = work(jobs.begin(act="dry_run", selection=ALL, operator=ANNA))
    assert (job.results, job.ran, job.would_stop) == ({"replayed": 2}, 3, 1)
    [failure] = job.would_fail
    assert (failure.error, failure.letters) == ("Refused: b1 is refused", 1)


def test_a_dry_run_does_not_try_what_is_behind_an_earlier_letter(service: Service) -> None:
    (letter,) = died(service, "a")
    service.fails.clear()
    later = DeadLetter.objects.get(id=letter.id)
    later.id, later.event_id, later.number = uuid4(), uuid4(), 7
    later.save(force_insert=True)
    job = work(jobs.begin(act="dry_run", selection=ALL, operator=ANNA))
    assert job.results == {"replayed": 1, "untried": 1}


def test_a_worker_that_knows_no_dry_runs_leaves_one_to_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    died(service, "a")
    service.fails.clear()
    job = jobs.begin(act="dry_run", selection=ALL, operator=ANNA)
    with monkeypatch.context() as earlier:
        earlier.delitem(working._ACTS, "dry_run")
        assert "dry_run" in work(job).trouble
    assert (job.state, job.results, DeadLetter.objects.get().state) == ("running", {}, "open")
    job = work(job)
    assert (job.state, job.results, job.trouble) == ("done", {"replayed": 1}, "")
