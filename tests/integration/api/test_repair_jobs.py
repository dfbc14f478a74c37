"""Many dead letters over REST: counted, acted on by workers, followed and stopped."""

from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from rest_framework.test import APIClient

from outbox.models import DeadLetter
from outbox.repair import working
from outbox.repair.acts import Act
from outbox.repair.jobs import RepairJob
from tests.integration.api import test_dead_letters
from tests.integration.api.answers import problem_of, refused_fields

letter = test_dead_letters.letter
REPLAY, DISCARD, JOBS = "/api/dead-letters/replay/", "/api/dead-letters/discard/", "/api/repair-jobs/"


def test_all_that_match_are_replayed_by_workers_and_followed(
    operator_api: APIClient, letter: DeadLetter
) -> None:
    meant = {"consumer": "orders", "cause": "MoneyError"}
    told = operator_api.post(REPLAY, {**meant, "preview": True})
    assert told.status_code == 200
    assert told.json() == {
        "letters": 1,
        "keys": 1,
        "waiting": 1,
        "more": False,
        "consequence": "Replays 1 event of 1 key; 1 waiting event will then run, in order, up to the next"
        " failure.",
    }
    assert not RepairJob.objects.exists()

    tried = operator_api.post(REPLAY, {**meant, "dry_run": True})
    assert (tried.status_code, tried.json()["act"]) == (202, "dry_run")
    working.work()
    tried = operator_api.get(f"{JOBS}{tried.json()['id']}/").json()
    assert (tried["state"], tried["results"], tried["would_fail"]) == ("done", {"replayed": 1}, [])
    assert not Act.objects.exists()
    both = {"dry_run": True, "preview": True}
    assert "preview" in refused_fields(operator_api.post(REPLAY, {**meant, **both}))
    assert "dry_run" in refused_fields(
        operator_api.post(DISCARD, {**meant, "reason": "gone", "dry_run": True})
    )

    begun = operator_api.post(REPLAY, {**meant, "rate": 100, "reason": "mended", "shown": 1})
    assert begun.status_code == 202
    job = begun.json()
    assert (job["state"], job["total"], job["done"], job["rate"]) == ("running", 1, 0, 100.0)
    working.work()
    job = operator_api.get(f"{JOBS}{job['id']}/").json()
    assert (job["state"], job["done"], job["results"], job["ran"]) == ("done", 1, {"replayed": 1}, 1)
    assert [one["id"] for one in operator_api.get(JOBS).json()["results"]] == [job["id"], tried["id"]]
    assert set(Act.objects.values_list("who", "via", "why")) == {("operator", "rest", "mended")}
    (told,) = operator_api.get(f"/api/dead-letters/{letter.id}/").json()["acts"]
    assert (told["result"], told["job_id"]) == ("replayed", job["id"])


def test_what_is_not_meant_is_not_done(operator_api: APIClient, letter: DeadLetter) -> None:
    assert "give a filter" in str(problem_of(operator_api.post(REPLAY, {}), 400))
    assert "reason" in refused_fields(operator_api.post(DISCARD, {"everything": True}))
    assert "consumr" in refused_fields(operator_api.post(REPLAY, {"consumr": "orders"}))
    assert "rate" in refused_fields(operator_api.post(REPLAY, {"everything": True, "rate": 0}))
    assert operator_api.post(REPLAY, {"everything": True, "shown": 0}).status_code == 409
    assert not RepairJob.objects.exists()
    begun = operator_api.post(REPLAY, {"consumer": "loyalty"})
    assert (begun.status_code, begun.json()["total"]) == (202, 0)
    assert working.work() == 0
    assert RepairJob.objects.get().state == "done"
    letter.refresh_from_db()
    assert letter.state == "open"


def test_the_same_request_again_begins_no_second_job(operator_api: APIClient, letter: DeadLetter) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    answers = [operator_api.post(REPLAY, {"everything": True}, headers=key).json() for _ in range(2)]
    assert answers[0]["id"] == answers[1]["id"]
    assert RepairJob.objects.count() == 1


def test_a_job_is_stopped(operator_api: APIClient, letter: DeadLetter) -> None:
    job = operator_api.post(DISCARD, {"ids": [str(letter.id)], "reason": "left"}).json()
    for _ in range(2):
        stopped = operator_api.post(f"{JOBS}{job['id']}/stop/").json()
        assert (stopped["state"], stopped["ended_by"], stopped["done"]) == ("stopped", "operator", 0)
    assert working.work() == 0
    assert operator_api.post(f"{JOBS}{uuid4()}/stop/").status_code == 404
    assert list(Act.objects.order_by("id").values_list("act", "result")) == [
        ("discard", "begun"),
        ("discard", "stopped"),
    ]


@pytest.mark.parametrize(("kind", "address"), [("replay", REPLAY), ("discard", DISCARD)])
def test_each_kind_asks_for_its_permission(
    operator_api: APIClient, viewer_api: APIClient, letter: DeadLetter, kind: str, address: str
) -> None:
    body = {"everything": True, "reason": "r"}
    job = operator_api.post(address, body).json()
    assert viewer_api.post(address, body).status_code == 403
    assert viewer_api.get(f"{JOBS}{job['id']}/").status_code == 200
    held = Permission.objects.get(content_type__app_label="outbox", codename=f"{kind}_deadletter")
    Group.objects.get(name="operator").permissions.remove(held)
    assert operator_api.post(address, body).status_code == 403
    assert operator_api.post(f"{JOBS}{job['id']}/stop/").status_code == 403
    assert RepairJob.objects.get().state == "running"
