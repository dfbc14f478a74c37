"""Dead letters in the browser: who looks and who acts, each act once, and nothing that is read is markup."""

import json
import math
import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from dashboard.letters import groups
from dashboard.letters import jobs as jobs_page
from dashboard.letters.filters import Asked
from dashboard.letters.groups import groups_of
from dashboard.letters.live import Watched, letters_live, regions
from dashboard.letters.selectors import page_of
from orders.models import Order
from outbox import NonRecoverable
from outbox.ids import new_id
from outbox.models import DeadLetter, KeyProgress, ParkedKey, WaitingEvent
from outbox.repair import jobs, working
from outbox.repair.acts import Act, Operator
from outbox.repair.difference import difference
from outbox.repair.jobs import RepairJob
from tests.integration.dashboard.conftest import browser_of
from tests.integration.dashboard.poisoned import poison

PLANTED = "<script>owned=1</script>"


class Refused(NonRecoverable):
    """The domain says no."""


@pytest.fixture
def letter(first: User) -> DeadLetter:
    """A letter with one event behind it."""
    return poison(first.id)


@pytest.fixture
def desk(operator: User) -> Client:
    return browser_of(operator)


def seen(desk: Client, letter: DeadLetter) -> str:
    page = desk.get(reverse("letter", args=[letter.id])).content.decode()
    tokens: list[str] = re.findall(r'name="seen" value="([^"]+)"', page)
    return tokens[0]


def act(desk: Client, letter: DeadLetter, verb: str, **form: str) -> Any:
    return desk.post(reverse(f"letter-{verb}", args=[letter.id]), {"seen": seen(desk, letter), **form})


def text_of(answer: Any) -> str:
    text: str = answer.content.decode()
    return text


def every_page(letter: DeadLetter, job_id: UUID) -> list[str]:
    parked = ParkedKey.objects.values_list("id", flat=True).first()
    return [
        reverse("letters"),
        f"{reverse('letters')}?consumer=orders&cause=MoneyError&type={letter.type}&key={letter.key}",
        f"{reverse('letters')}?fingerprint={letter.fingerprint}&since=2020-01-01T00:00Z",
        f"{reverse('letters')}?state=discarded",
        reverse("letter", args=[letter.id]),
        reverse("parked-keys"),
        reverse("parked-key", args=[parked]),
        reverse("repair-jobs"),
        reverse("repair-job", args=[job_id]),
        reverse("repair-job-now", args=[job_id]),
    ]


def confirmation(asked: str) -> dict[str, str]:
    """What the page that asks is sent with when it is meant."""
    return {"confirmed": "yes", **dict(re.findall(r'name="(job|asked|shown)" value="([^"]+)"', asked))}


def missing_of(asked: str) -> dict[str, str]:
    """What the page that asks about parked keys is sent with when it is meant."""
    return {"confirmed": "yes", **dict(re.findall(r'name="(missing[^"]*)" value="([^"]+)"', asked))}


@pytest.fixture
def job(letter: DeadLetter, desk: Client) -> RepairJob:
    """A job about one letter that is gone: it does nothing."""
    gone = {"act": "discard", "letter": str(letter.id), "reason": PLANTED}
    asked = text_of(desk.post(reverse("letters-selected"), gone))
    desk.post(reverse("letters-selected"), {**gone, **confirmation(asked)})
    made = RepairJob.objects.get()
    jobs.stop(job_id=made.id, operator=Operator(PLANTED))
    return made


def acts_of(letter: DeadLetter, job_id: UUID) -> list[str]:
    parked = ParkedKey.objects.values_list("id", flat=True).first()
    return [
        reverse("letter-replay", args=[letter.id]),
        reverse("letter-discard", args=[letter.id]),
        reverse("letter-correct", args=[letter.id]),
        reverse("letters-selected"),
        reverse("letters-matching", args=["discard"]),
        reverse("release-parked-key", args=[parked]),
        reverse("release-parked-keys"),
        reverse("repair-job-stop", args=[job_id]),
    ]


def test_operators_look_and_act_viewers_look_and_nobody_else_sees_any_of_it(
    first: User, viewer: User, staff: User, letter: DeadLetter, job: RepairJob
) -> None:
    before = (Act.objects.count(), RepairJob.objects.count())
    for path in every_page(letter, job.id):
        assert Client(headers={"host": "localhost"}).get(path).status_code == 302, path
        assert browser_of(first).get(path).status_code == 403, path
        for user in (viewer, staff):
            page = browser_of(user).get(path)
            assert page.status_code == 200, path
            posting = re.findall(r'<form[^>]*method="post"[^>]*>', text_of(page))
            assert not [form for form in posting if "logout" not in form], path
            assert not re.search(r"<(button|a)[^>]*>(Replay|Discard|Release|Stop)", text_of(page)), path
    everything = {"confirmed": "yes", "reason": "r", "act": "discard", "letter": str(letter.id)}
    for path in acts_of(letter, job.id):
        assert Client(headers={"host": "localhost"}).post(path, everything).status_code == 302, path
        for user in (first, viewer, staff):
            assert browser_of(user).post(path, everything).status_code == 403, path
    assert (Act.objects.count(), RepairJob.objects.count()) == before
    assert DeadLetter.objects.get().state == "open"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("who", "status"), [(None, 401), ("first", 403)])
def test_nobody_else_watches(request: pytest.FixtureRequest, who: str | None, status: int) -> None:
    client = (
        Client(headers={"host": "localhost"}) if who is None else browser_of(request.getfixturevalue(who))
    )
    assert client.get(reverse("letters-stream")).status_code == status


def test_letters_are_grouped_by_their_cause_with_what_waits(desk: Client, first: User) -> None:
    letters = [poison(first.id, error=f"no currency {number}", waits=number) for number in (1, 0)]
    page = text_of(desk.get(reverse("letters")))
    (group,) = re.findall(r'<tr id="g-orders.*?</tr>', page, re.DOTALL)
    figures = re.findall(r'<td class="right number">(.*?)</td>', group)
    assert figures == ["2", "2", "1"]  # letters, keys held, waiting
    assert "PaymentValidated" in group
    assert "no currency 0" in group
    for letter in letters:
        assert f'id="l-{letter.id}"' in page
    assert "2 open" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("consumer=orders", True),
        ("consumer=loyalty", False),
        ("cause=MoneyError", True),
        ("cause=Other", False),
        ("type=payments.PaymentValidated.v1", True),
        ("key=nobody", False),
        ("state=replayed", False),
        ("since=2020-01-01T00:00:00Z", True),
        ("until=2020-01-01T00:00:00Z", False),
        ("fingerprint=abc", False),
    ],
)
def test_letters_are_found_by_what_the_address_says(
    desk: Client, letter: DeadLetter, query: str, found: bool
) -> None:
    page = text_of(desk.get(f"{reverse('letters')}?{query}"))
    assert (f'id="l-{letter.id}"' in page) is found
    assert ("No dead letter is like that" in page) is not found


@pytest.mark.parametrize(
    "query",
    ["consumer=nobody", "state=lost", "kye=a", "since=soon", "fingerprint=%3Cb%3E", "before=x", "key=a%00"],
)
def test_an_address_that_means_nothing_is_said_to(desk: Client, letter: DeadLetter, query: str) -> None:
    answer = desk.get(f"{reverse('letters')}?{query}")
    assert answer.status_code == 400
    assert "not known here" in text_of(answer)


def test_a_time_that_ends_before_it_begins_is_refused(desk: Client, letter: DeadLetter) -> None:
    answer = desk.get(reverse("letters"), {"since": "2026-07-02T00:00:00", "until": "2026-07-01T00:00:00"})
    assert answer.status_code == 400
    assert "The time must begin before it ends." in text_of(answer)


def test_times_are_of_the_zone_that_is_asked_for(desk: Client, letter: DeadLetter) -> None:
    DeadLetter.objects.update(died_at=datetime(2026, 7, 1, 12, 30, tzinfo=UTC))

    def found(**asked: str) -> bool:
        page = text_of(desk.get(reverse("letters"), asked))
        assert f'value="{asked["since"]}"' in page
        assert f'name="tz" value="{asked.get("tz", "Asia/Tokyo")}"' in page  # sent again with the time shown
        return f'id="l-{letter.id}"' in page

    assert found(since="2026-07-01T14:30:00", tz="Europe/Berlin")
    assert not found(since="2026-07-01T14:30:00", tz="UTC")
    desk.cookies["zone"] = "Asia/Tokyo"
    assert found(since="2026-07-01T21:30:00")
    assert not found(since="2026-07-01T21:30:01")


def test_a_list_is_paged_by_place(desk: Client, first: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.letters.selectors.PAGE_SIZE", 2)
    ids = [str(poison(first.id, waits=0).id) for _ in range(5)][::-1]
    address, shown, pages = reverse("letters"), [], []
    while address:
        page = text_of(desk.get(address))
        pages.append(re.findall(r'id="l-([^"]+)"', page))
        shown += pages[-1]
        older = re.findall(r'href="([^"]+)" rel="next"', page)
        address = reverse("letters") + older[0].replace("&amp;", "&") if older else ""
    assert shown == ids
    newer = re.findall(r'href="([^"]+)" rel="prev"', page)
    back = text_of(desk.get(reverse("letters") + newer[0].replace("&amp;", "&")))
    assert re.findall(r'id="l-([^"]+)"', back) == pages[-2]


def test_a_replay_runs_the_letter_and_what_waits(desk: Client, letter: DeadLetter) -> None:
    page = text_of(desk.get(reverse("letter", args=[letter.id])))
    assert "Replay, then the 1 behind it" in page
    assert reverse("payment", args=[letter.key]) in page
    assert reverse("event", args=[letter.event_id]) in page
    assert act(desk, letter, "replay", reason="fixed").status_code == 302
    assert Order.objects.get().status == "cancelled"
    page = text_of(desk.get(reverse("letter", args=[letter.id])))
    assert "It has been processed; 1 that waited ran." in page
    (done,) = Act.objects.all()
    assert (done.who, done.via, done.why, done.result) == ("operator", "dashboard", "fixed", "replayed")


def test_a_form_that_is_sent_twice_is_one_act(desk: Client, letter: DeadLetter) -> None:
    """Also when the letter died again: the page that the form is of is older than that."""
    form = {"seen": seen(desk, letter)}
    DeadLetter.objects.update(payload=b"{}")
    assert desk.post(reverse("letter-replay", args=[letter.id]), form).status_code == 302
    letter.refresh_from_db()
    assert letter.state == "open"
    again = desk.post(reverse("letter-replay", args=[letter.id]), form)
    assert again.status_code == 409
    assert "Somebody has acted on this letter" in text_of(again)
    assert Act.objects.count() == 1


def test_a_dry_run_says_what_would_come_of_it_and_keeps_nothing(desk: Client, letter: DeadLetter) -> None:
    answer = act(desk, letter, "replay", dry_run="yes", reason="the shelf is full")
    assert 'value="the shelf is full"' in text_of(answer)
    assert "Dry run, nothing was kept: It has been processed; 1 that waited ran." in text_of(answer)
    assert not Order.objects.exists()
    assert not Act.objects.exists()
    assert DeadLetter.objects.get().state == "open"
    assert WaitingEvent.objects.count() == 1
    DeadLetter.objects.update(payload=b"{}")
    assert "nothing was kept: It died again: ContractViolation" in text_of(
        act(desk, letter, "replay", dry_run="yes")
    )
    assert DeadLetter.objects.get().attempts == letter.attempts


def test_a_discard_is_asked_for_in_numbers_and_says_why(desk: Client, letter: DeadLetter) -> None:
    asked = text_of(desk.get(reverse("letter-discard", args=[letter.id])))
    assert "Discards 1 event of 1 key; 1 waiting event will then run" in asked
    for reason in ("", "   ", "\u200b"):
        refused = act(desk, letter, "discard", confirmed="yes", reason=reason)
        assert refused.status_code == 422
        assert 'role="alert"' in text_of(refused)
    assert not Act.objects.exists()
    assert act(desk, letter, "discard", confirmed="yes", reason="a test").status_code == 302
    assert DeadLetter.objects.get().state == "discarded"
    assert not ParkedKey.objects.exists()
    assert Act.objects.get().why == "a test"
    assert desk.get(reverse("letter-discard", args=[letter.id])).status_code == 409


def test_a_correction_is_compared_and_checked_before_anything_happens(
    desk: Client, letter: DeadLetter
) -> None:
    data = json.loads(bytes(letter.payload or b""))
    wrong = {**data, "amount_minor": "many", "payment_id": 7}
    del wrong["currency"]
    answer = act(desk, letter, "correct", data=json.dumps(wrong), confirmed="yes")
    assert answer.status_code == 422
    page = text_of(answer)
    for field, said in (("amount_minor", "Expected"), ("payment_id", "Expected"), ("currency", "missing")):
        assert re.search(f"<dt><code>{field}</code></dt><dd>[^<]*{said}", page), (field, page)
    assert "Replay with this data" not in page
    assert "not JSON" in text_of(act(desk, letter, "correct", data="{", confirmed="yes"))
    assert not Act.objects.exists()
    right = json.dumps({**data, "customer_id": "c-corrected"})
    page = text_of(act(desk, letter, "correct", data=right))
    assert re.search(r"<del>- .*c-1.*</del>", page)
    assert re.search(r"<ins>\+ .*c-corrected.*</ins>", page)
    assert "Replay with this data" in page
    assert "The contract does not know" not in page
    assert not Act.objects.exists()
    misspelt = text_of(act(desk, letter, "correct", data=json.dumps({**data, "curency": "<b>", "b<i>": 1})))
    said = "The contract does not know <code>curency</code>, <code>b&lt;i&gt;</code>: nobody reads them."
    assert said in misspelt
    tried = text_of(act(desk, letter, "correct", data=right, dry_run="yes"))
    assert "Dry run, nothing was kept: It has been processed" in tried
    assert not Order.objects.exists()
    unsaid = act(desk, letter, "correct", data=right, confirmed="yes", reason=" ")
    assert (unsaid.status_code, "This field is required" in text_of(unsaid)) == (422, True)
    assert not Order.objects.exists()
    assert act(desk, letter, "correct", data=right, confirmed="yes", reason="a slip").status_code == 302
    assert Order.objects.get().customer_id == "c-corrected"
    letter.refresh_from_db()
    assert (letter.state, json.loads(bytes(letter.correction or b""))["customer_id"]) == (
        "replayed",
        "c-corrected",
    )
    assert json.loads(bytes(letter.payload or b"")) == data
    page = text_of(desk.get(reverse("letter", args=[letter.id])))
    assert "It has been processed with changed data; 1 that waited ran." in page
    assert "<strong>replay with changed data</strong> by operator" in page
    assert re.search(r"<del>- .*c-1.*</del>\n<ins>\+ .*c-corrected.*</ins>", page)


def test_what_is_ticked_is_asked_about_and_done_by_workers(desk: Client, first: User) -> None:
    letters = [poison(first.id) for _ in range(3)]
    ticked = {"act": "replay", "letter": [str(letter.id) for letter in letters[:2]]}
    page = text_of(desk.get(f"{reverse('letters')}?consumer=orders"))
    assert re.findall(r"<option[^>]*>(\w+)</option>", page)[:3] == ["open", "replayed", "discarded"]
    ticked["filters"] = re.findall(r'name="filters" value="([^"]*)"', page)[0]
    asked = text_of(desk.post(reverse("letters-selected"), ticked))
    assert f'href="{reverse("letters")}?consumer=orders"' in asked
    assert "Replays 2 events of 2 keys; 2 waiting events will then run" in asked
    assert not RepairJob.objects.exists()
    confirmed = {**ticked, **confirmation(asked)}
    for _ in range(2):  # sent twice, it is one job
        answer = desk.post(reverse("letters-selected"), confirmed)
        assert answer.status_code == 302
    job = RepairJob.objects.get()
    assert str(job.id) == confirmed["job"]
    assert "0</span> of" in text_of(desk.get(answer.headers["Location"]))
    assert working.work() == 2
    page = text_of(desk.get(answer.headers["Location"]))
    assert "2</span> of" in page
    assert "done" in page
    assert [letter.state for letter in DeadLetter.objects.order_by("died_at")] == [
        "replayed", "replayed", "open",
    ]  # fmt: skip
    assert set(Act.objects.values_list("who", "via")) == {("operator", "dashboard")}


def test_a_job_in_which_letters_die_again_says_so_why_and_where_they_are(
    desk: Client, first: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [poison(first.id) for _ in range(3)]
    act(desk, letters[2], "discard", confirmed="yes", reason="not of the job")
    elsewhere = poison(first.id, waits=0)

    def refuse(**sold: object) -> None:
        raise Refused("the shelf is empty")

    monkeypatch.setattr("orders.services.instantiate_orders", refuse)
    act(desk, elsewhere, "replay")
    address = f"{reverse('letters-matching', args=['replay'])}?cause=MoneyError"
    job_page = desk.post(address, confirmation(text_of(desk.get(address)))).headers["Location"]
    for _ in range(2):  # by the same operator, for the same reason, but not by the job
        act(desk, elsewhere, "replay")
    assert working.work() == 2
    page = text_of(desk.get(job_page))
    assert 'data-state="bad"><span class="mark" aria-hidden="true"></span>done; 2 died again<' in page
    assert '<span class="number">2</span> letters' in page
    assert "the shelf is empty" in page
    assert 'data-state="bad"' in text_of(desk.get(reverse("repair-jobs")))
    (listed,) = re.findall(rf'href="{reverse("letters")}\?([^"]+)">Refused<', page)
    found = text_of(desk.get(f"{reverse('letters')}?{unescape(listed)}"))
    assert [str(letter.id) in found for letter in letters] == [True, True, False]

    monkeypatch.undo()
    act(desk, letters[0], "replay")
    assert '<span class="number">1</span> letter<' in text_of(desk.get(job_page))
    act(desk, letters[1], "replay")
    assert "What failed has been settled since." in text_of(desk.get(job_page))
    RepairJob.objects.update(results={"died": 3})  # not all of its acts are known to be its own
    assert "What failed has been settled since." not in text_of(desk.get(job_page))
    RepairJob.objects.update(results={"died": 2})
    DeadLetter.objects.filter(id=letters[1].id).update(state="open", settled_at=None)
    monkeypatch.setattr("dashboard.letters.jobs.MOST_FAILED", 1)  # and it is beyond what is looked at
    assert "What failed has been settled since." not in text_of(desk.get(job_page))


def test_many_are_tried_before_they_are_replayed(
    desk: Client, first: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = [poison(first.id) for _ in range(2)]

    def refuse(**sold: object) -> None:
        raise Refused(f"the shelf is empty {PLANTED}")

    monkeypatch.setattr("orders.services.instantiate_orders", refuse)
    address = reverse("letters-matching", args=["replay"])
    form = confirmation(text_of(desk.get(address)))
    tried = {name: value for name, value in form.items() if name != "confirmed"} | {"dry_run": "yes"}
    tried_page = desk.post(address, tried).headers["Location"]
    assert working.work() == 2
    page = text_of(desk.get(tried_page))
    assert 'data-state="bad"><span class="mark" aria-hidden="true"></span>done; 2 would die again<' in page
    assert "letters tried, and nothing kept" in page
    assert '<span class="number">2</span> letters</span><span>such as Refused: the shelf is empty' in page
    assert PLANTED not in page
    assert not Act.objects.exists()
    RepairJob.objects.update(failures={"f": [2, "full"], "others": [1, ""]})
    tried_text = text_of(desk.get(tried_page))
    assert '<span class="number">1</span> letter</span><span>other causes' in tried_text
    assert "done; 2 would die again; behind 1 an event would die<" in tried_text
    assert "dry run</a>" in text_of(desk.get(reverse("repair-jobs")))

    monkeypatch.undo()
    done_page = desk.post(address, form).headers["Location"]  # the very form that was tried
    assert done_page != tried_page
    assert working.work() == 2
    assert {letter.state for letter in DeadLetter.objects.filter(id__in=[one.id for one in letters])} == {
        "replayed"
    }
    discard = reverse("letters-matching", args=["discard"])
    assert 'name="dry_run"' not in text_of(desk.get(discard))


def test_what_failed_in_a_job_is_found_at_any_size(desk: Client, job: RepairJob) -> None:
    """In one statement that reads the letters that it tells of, however many the job has acted on."""
    began = datetime.now(UTC) - timedelta(hours=1)
    for minutes in range(20):
        dead(began, minutes, cause="KeyError", error="e", fingerprint="f")
    with connection.cursor() as sql:
        sql.execute(
            "INSERT INTO outbox_dead_letter SELECT (made).* FROM (SELECT jsonb_populate_record(letter,"
            " jsonb_build_object('id', gen_random_uuid(), 'event_id', gen_random_uuid())) AS made"
            " FROM outbox_dead_letter AS letter, generate_series(1, 200) WHERE cause = 'KeyError') AS found"
        )
        sql.execute(
            "INSERT INTO outbox_act (id, who, via, act, why, consumer, letter_id, topic, result, error, ran,"
            " waiting, job_id) SELECT gen_random_uuid(), 'anna', 'dashboard', 'replay', '', 'orders', id,"
            " 'payments', CASE WHEN number <= 6 THEN 'died' ELSE 'replayed' END, '', 0, 0,"
            " CASE WHEN mod(number, 2) = 1 THEN %s::uuid END"
            " FROM (SELECT id, row_number() OVER () AS number FROM outbox_dead_letter) AS letter",
            [job.id],
        )
        sql.execute("ANALYZE outbox_act, outbox_dead_letter")
    job.results = {"died": 3}
    with CaptureQueriesContext(connection) as captured:
        assert sum(one.count.count for one in jobs_page.failed(job)) == 3
    (query,) = captured.captured_queries
    with connection.cursor() as sql:
        sql.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + query["sql"].replace("%", "%%"), [])
        plan = "\n".join(line for (line,) in sql.fetchall())
    assert "outbox_act_of_job_idx" in plan
    read = [int(float(rows)) for rows in re.findall(r"actual rows=([0-9.]+)", plan)]
    wasted = [int(rows) for rows in re.findall(r"Rows Removed by Filter: ([0-9]+)", plan)]
    assert max([*read, *wasted]) < 20, plan


def test_all_that_match_are_asked_about_and_done(desk: Client, first: User) -> None:
    letters = [poison(first.id) for _ in range(3)]
    address = f"{reverse('letters-matching', args=['discard'])}?key={letters[0].key}"
    asked = text_of(desk.get(address))
    assert "Discards 1 event of 1 key; 1 waiting event will then run" in asked
    assert desk.post(address, confirmation(asked)).status_code == 422
    assert desk.post(address, {"confirmed": "yes", "reason": "unseen"}).status_code == 422
    desk.post(address, {**confirmation(asked), "reason": "a test"})
    working.work()
    letters[0].refresh_from_db()
    assert letters[0].state == "discarded"
    assert DeadLetter.objects.filter(state="open").count() == 2
    assert "Discards 2 events" in text_of(desk.get(reverse("letters-matching", args=["discard"])))
    assert desk.get(reverse("letters-matching", args=["eat"])).status_code == 404


def test_no_more_is_done_than_was_shown(desk: Client, first: User) -> None:
    poison(first.id)
    address = reverse("letters-matching", args=["replay"])
    asked = confirmation(text_of(desk.get(address)))
    poison(first.id)  # it dies after the page was made
    answer = desk.post(address, {**asked, "rate": "0.5"})
    assert answer.status_code == 302
    job = RepairJob.objects.get()
    assert (job.total, job.per_second) == (1, 0.5)
    assert "At most 0.50 letters a second" in text_of(desk.get(answer.headers["Location"]))
    working.work()
    assert DeadLetter.objects.filter(state="open").count() == 1

    asked = confirmation(text_of(desk.get(address)))
    DeadLetter.objects.update(state="open", settled_at=None)  # it was there, and comes to be seen only now
    answer = desk.post(address, asked)
    assert answer.status_code == 409
    assert "2 match by now, and 1 were shown" in text_of(answer)
    assert RepairJob.objects.count() == 1
    assert desk.post(address, {**asked, "rate": "fast"}).status_code == 422


def test_a_stale_selection_says_what_others_have_dealt_with(desk: Client, first: User) -> None:
    letters = [poison(first.id) for _ in range(2)]
    act(desk, letters[0], "replay")
    ticked = {"act": "discard", "letter": [str(letter.id) for letter in letters]}
    asked = text_of(desk.post(reverse("letters-selected"), ticked))
    assert "1 of those that were selected have been dealt with" in asked
    act(desk, letters[1], "replay")
    answer = desk.post(reverse("letters-selected"), {**ticked, **confirmation(asked), "reason": "r"})
    assert answer.status_code == 409
    assert "others have dealt with it" in text_of(answer)
    for filters, back in (
        ("consumer=orders&cause=MoneyError", "?consumer=orders&amp;cause=MoneyError"),
        ("state=eaten", ""),
    ):
        none = desk.post(reverse("letters-selected"), {"act": "discard", "filters": filters})
        assert "No letter was selected" in text_of(none)
        assert f'href="{reverse("letters")}{back}"' in text_of(none)
    assert not RepairJob.objects.exists()


def test_a_job_is_stopped_and_says_by_whom(desk: Client, first: User) -> None:
    poison(first.id)
    address = reverse("letters-matching", args=["replay"])
    answer = desk.post(address, confirmation(text_of(desk.get(address))))
    (job,) = RepairJob.objects.all()
    assert desk.post(reverse("repair-job-stop", args=[job.id])).status_code == 302
    assert working.work() == 0
    assert "Stopped by operator" in text_of(desk.get(answer.headers["Location"]))
    assert DeadLetter.objects.get().state == "open"


def dead(began: datetime, minutes: int, **given: Any) -> None:
    """A letter that died so many minutes after the beginning."""
    columns: dict[str, Any] = {
        "consumer": "orders", "generation": 1, "event_id": new_id(began), "topic": "payments", "partition": 0,
        "offset": 0, "headers": [], "type": "t", "traceback": "", "attempts": 1,
        "died_at": began + timedelta(minutes=minutes),
    }  # fmt: skip
    DeadLetter.objects.create(**columns | given)


def test_an_older_cause_does_not_vanish_behind_newer_letters(
    desk: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GROUPED", 3)
    monkeypatch.setattr(groups, "OLDER_CAUSES", 2)
    began = datetime.now(UTC) - timedelta(hours=1)

    def die(cause: str, minutes: int, state: str = "open") -> None:
        settled_at = None if state == "open" else began + timedelta(minutes=59)
        named = {"cause": cause, "error": cause, "fingerprint": f"f-{cause}"}
        dead(began, minutes, **named, state=state, settled_at=settled_at)

    for minutes in range(2):
        die("Older", minutes)
    for number in range(3):  # before it, by whatever they are sorted
        die(f"A{number}", 3, "replayed")
        die(f"Z{number}", 3, "replayed")
    for minutes in range(10, 15):
        die("Newer", minutes)
    found = groups_of(Asked())
    assert found.cut
    told = {group.cause: (str(group.counted), group.first) for group in found.groups}
    assert told == {
        "Older": ("2+", began),
        "Newer": ("3+", began + timedelta(minutes=10)),  # the first of all, not of those looked at
    }
    assert "and some of each older cause" in text_of(desk.get(reverse("letters")))
    for cause in ("Oldest", "Eldest"):
        die(cause, 1)
    assert groups_of(Asked()).older == "2 older causes"
    assert "and some of 2 older causes" in text_of(desk.get(reverse("letters")))


def test_an_older_group_does_not_vanish_behind_others_of_its_fingerprint_nor_by_a_filter(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GROUPED", 3)
    monkeypatch.setattr(groups, "OLDER_CAUSES", 2)
    began = datetime.now(UTC) - timedelta(hours=1)

    def die(consumer: str, minutes: int, fingerprint: str = "same", kind: str = "t") -> None:
        named = {"cause": "KeyError", "error": "e", "fingerprint": fingerprint}
        dead(began, minutes, **named, consumer=consumer, type=kind)

    die("loyalty", 1)
    for number in range(5):
        die("analytics", 2, f"other-{number}", "another")
    for minutes in range(10, 15):
        die("orders", minutes)

    def told(*pairs: tuple[str, str]) -> set[tuple[str, str]]:
        return {(group.consumer, group.fingerprint) for group in groups_of(Asked(pairs)).groups}

    both = {("loyalty", "same"), ("orders", "same")}
    assert told(("fingerprint", "same")) == both
    assert told(("type", "t")) == both
    assert told(("type", "t"), ("until", (began + timedelta(minutes=30)).isoformat())) == both
    assert told(("type", "t"), ("since", (began + timedelta(minutes=5)).isoformat())) == {("orders", "same")}


def test_a_list_of_parked_keys_asks_no_more_for_more_of_them(
    desk: Client, first: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How many alarms there are is kept for a moment, which may end between two pages.
    monkeypatch.setattr("dashboard.alerts.count._last", (math.inf, (0, False)))

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            page = text_of(desk.get(reverse("parked-keys")))
        assert page.count('<tr id="parked-') == ParkedKey.objects.count()
        return len(captured)

    poison(first.id)
    few = statements()
    for _ in range(5):
        poison(first.id)
    assert statements() == few


def test_the_difference_of_many_lines_that_are_alike_is_shown_soon(desk: Client) -> None:
    """Likeness within lines is not looked for: that took minutes."""
    before = [f'  "name-{number:04}": "{"x" * 40}"' for number in range(1_000)]
    after = [f'  "name-{number:04}": "{"x" * 39}y"' for number in range(1_000)]
    began = time.monotonic()
    lines = difference("\n".join(before), "\n".join(after))
    assert time.monotonic() - began < 20
    assert lines is not None
    assert [line.text for line in lines if line.mark == "-"] == before
    assert [line.text for line in lines if line.mark == "+"] == after
    changed = difference("a\nb\nc", "a\nB\nc\nd")
    assert changed is not None
    assert [f"{line.mark}{line.text}" for line in changed] == ["a", "-b", "+B", "c", "+d"]


def test_a_parked_key_shows_what_is_missing_and_is_released_for_a_reason(
    desk: Client, letter: DeadLetter
) -> None:
    row = ParkedKey.objects.get()
    page = text_of(desk.get(reverse("parked-key", args=[row.id])))
    assert reverse("letter", args=[letter.id]) in page
    assert "Release</a>" not in page
    behind = WaitingEvent.objects.get()
    WaitingEvent.objects.update(number=(letter.number or 0) + 3)
    ParkedKey.objects.update(cause="gap", event_id=behind.event_id)
    KeyProgress.objects.update(number=letter.number)
    listed = text_of(desk.get(reverse("parked-keys")))
    page = text_of(desk.get(reverse("parked-key", args=[row.id])))
    asked = text_of(desk.get(reverse("release-parked-key", args=[row.id])))
    for told in (listed, page, asked):
        assert "numbers 3 to 4" in told
    assert "1 waiting event will then run" in asked
    address = reverse("release-parked-key", args=[row.id])
    assert desk.post(address, {"confirmed": "yes", "reason": "unseen"}).status_code == 200
    assert desk.post(address, {**missing_of(asked), "reason": " "}).status_code == 422
    assert desk.post(address, {"confirmed": "yes", "missing": "all", "reason": "r"}).status_code == 400
    assert WaitingEvent.objects.exists()
    assert desk.post(address, {**missing_of(asked), "reason": "lost"}).status_code == 302
    assert not WaitingEvent.objects.exists()
    assert Act.objects.get().act == "release"
    again = desk.post(address, {**missing_of(asked), "reason": "lost"})
    assert again.status_code == 409  # the refund of an order that never was: a dead letter holds the key now
    assert Act.objects.count() == 1


def test_a_form_gives_up_the_numbers_that_its_page_told_of_and_no_others(
    desk: Client, letter: DeadLetter
) -> None:
    """What was missing has come, and the key waits for others: in the same row, by now."""
    WaitingEvent.objects.update(number=6)
    ParkedKey.objects.update(cause="gap", event_id=uuid4())
    KeyProgress.objects.update(number=3)
    row = ParkedKey.objects.get()
    address, ticked = reverse("release-parked-key", args=[row.id]), {"parked": str(row.id)}
    one, many = text_of(desk.get(address)), text_of(desk.post(reverse("release-parked-keys"), ticked))
    for told in (one, many, text_of(desk.get(reverse("parked-keys")))):
        assert "numbers 4 to 5" in told
    KeyProgress.objects.update(number=4)
    refused = desk.post(address, {**missing_of(one), "reason": "lost"})
    assert refused.status_code == 409
    said = "It waits for number 5 by now, and numbers 4 to 5 was shown: nothing was given up. Look again."
    assert said in text_of(refused)
    answer = desk.post(reverse("release-parked-keys"), {**ticked, **missing_of(many), "reason": "lost"})
    assert said in text_of(answer)
    assert WaitingEvent.objects.exists()
    assert not Act.objects.exists()


@pytest.mark.parametrize("query", ["consumer=zz", "since=yesterday"])
def test_a_filter_that_means_nothing_offers_nothing_to_be_done(
    desk: Client, letter: DeadLetter, query: str
) -> None:
    answer = desk.get(f"{reverse('letters')}?{query}")
    assert answer.status_code == 400
    page = text_of(answer)
    assert "Nothing was looked for" in page
    assert "/matching/" not in page
    assert "selected</button>" not in page
    assert "0 open" not in page
    assert "has been processed" not in page


def test_long_data_is_edited_and_compared_whole(desk: Client, letter: DeadLetter) -> None:
    data = [1] * 40_000  # which would be longer than what is shown, once it is indented
    DeadLetter.objects.update(payload=json.dumps(data, separators=(",", ":")).encode())
    page = text_of(desk.get(reverse("letter", args=[letter.id])))
    assert "more characters are not shown" in page
    (edited,) = re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert json.loads(edited) == data
    assert "Nothing is different" in text_of(act(desk, letter, "correct", data=edited))
    other = text_of(act(desk, letter, "correct", data=json.dumps([*data[:-1], 2])))
    assert "Nothing is different" not in other
    DeadLetter.objects.update(payload=b"1" * 100_001)
    page = text_of(desk.get(reverse("letter", args=[letter.id])))
    assert "<textarea" not in page
    assert f"manage.py replay --event {letter.event_id} --consumer orders --data FILE" in page


def test_nothing_that_is_read_is_ever_markup(desk: Client, letter: DeadLetter, job: RepairJob) -> None:
    """Planted: in the error, cause, traceback, fingerprint, type, key, headers, data, reasons and names."""
    DeadLetter.objects.update(
        error=PLANTED, cause=PLANTED, traceback=PLANTED, type=PLANTED, key=PLANTED, fingerprint="f<b>",
        headers=[[PLANTED, "PHNjcmlwdD5vd25lZD0xPC9zY3JpcHQ+"]], payload=f'{{"a": "{PLANTED}"}}'.encode(),
    )  # fmt: skip
    ParkedKey.objects.update(key=PLANTED)
    WaitingEvent.objects.update(key=PLANTED, type=PLANTED)
    RepairJob.objects.update(trouble=PLANTED, who=PLANTED, state="running", ended_at=None)
    Act.objects.create(
        who=PLANTED, via="dashboard", act="replay", why=PLANTED, consumer="orders", letter_id=letter.id,
        topic="payments", result="died", error=PLANTED, detail=PLANTED, ran=0, waiting=0,
    )  # fmt: skip
    pages: list[Any] = [desk.get(path) for path in every_page(letter, job.id)]
    pages.append(desk.get(reverse("letter-discard", args=[letter.id])))
    pages.append(desk.get(f"{reverse('letters')}?cause={PLANTED}&key={PLANTED}"))
    pages.append(desk.get(reverse("release-parked-key", args=[ParkedKey.objects.get().id])))
    pages.append(act(desk, letter, "correct", data=PLANTED, reason=PLANTED))
    pages.append(act(desk, letter, "discard", confirmed="yes", reason=""))
    for page in pages:
        assert PLANTED not in text_of(page)
        assert "owned=1</script>" not in text_of(page)
    assert sum("&lt;script&gt;owned=1" in text_of(page) for page in pages) >= 8
    for html in regions(groups_of(Asked()), page_of(Asked()), Watched(Asked(), True)).values():
        assert PLANTED not in html


def test_what_is_watched_is_read_once_for_each_filter(letter: DeadLetter) -> None:
    questions = [Watched(Asked(), True), Watched(Asked((("consumer", "loyalty"),)), False)]
    told = {question: answer.regions for question, answer in letters_live.answers(questions).items()}
    assert str(letter.id) in told[questions[0]]["letter-rows"]
    assert 'type="checkbox"' in told[questions[0]]["letter-rows"]
    assert "No dead letter is like that" in told[questions[1]]["no-letters"]


def test_parked_keys_that_were_ticked_are_released_for_a_reason(desk: Client, first: User) -> None:
    held, *others = [poison(first.id) for _ in range(3)]
    for letter in others:
        behind = WaitingEvent.objects.get(key=letter.key)
        WaitingEvent.objects.filter(id=behind.id).update(number=(letter.number or 0) + 3)
        ParkedKey.objects.filter(key=letter.key).update(cause="gap", event_id=behind.event_id)
    rows: dict[str | None, UUID] = {row.key: row.id for row in ParkedKey.objects.all()}
    listed = text_of(desk.get(reverse("parked-keys")))
    assert set(re.findall(r'name="parked" value="([^"]+)"', listed)) == {
        str(rows[letter.key]) for letter in others
    }
    address = reverse("release-parked-keys")
    ticked: dict[str, Any] = {"parked": [str(rows[letter.key]) for letter in (held, *others)]}
    asked = text_of(desk.post(address, ticked))
    assert "Gives up what 2 keys wait for; 2 waiting events will then run" in asked
    assert "1 of those that were selected are not held by a gap" in asked
    ticked = {**ticked, **missing_of(asked), f"missing-{rows[held.key]}": "-"}
    assert desk.post(address, {**ticked, "reason": " "}).status_code == 422
    assert not Act.objects.exists()
    done = text_of(desk.post(address, {**ticked, "reason": "lost"}))
    assert done.count("It is released without") == 2
    assert "holds the key: replay or discard that one." in done
    assert set(Act.objects.values_list("act", "who", "via", "why")) == {
        ("release", "operator", "dashboard", "lost")
    }
    assert {letter.key for letter in DeadLetter.objects.filter(state="open")} >= {held.key}
    assert WaitingEvent.objects.filter(key=held.key).exists()
    for nothing in ({}, {"parked": str(rows[held.key])}, {"parked": str(uuid4()), "confirmed": "yes"}):
        assert desk.post(address, nothing).status_code == 409
    assert desk.post(address, {"parked": "x"}).status_code == 404


def test_what_is_not_there_is_not_found(desk: Client, letter: DeadLetter) -> None:
    for name in ("letter", "letter-discard", "parked-key", "repair-job"):
        assert desk.get(reverse(name, args=[uuid4()])).status_code == 404
    assert desk.post(reverse("letters-selected"), {"act": "replay", "letter": "x"}).status_code == 404
