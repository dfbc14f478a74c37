"""The chaos panel and the tour: where they are, who may do what, and what a poisoned event becomes."""

import itertools
import json
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from accounts.models import User
from contracts.payments import PaymentValidated
from dashboard.chaos import poison
from dashboard.chaos.channel import Away, DemoPart, NoAnswer, Refused, Verb
from dashboard.tour.place import Place
from dashboard.tour.progress import STOPPED, shared_lags
from loyalty.models import LedgerEntry
from orders.models import Order
from outbox import NonRecoverable, clock
from outbox.models import DeadLetter, LetterState, OutboxEvent, WaitingEvent
from outbox.positions import Member
from outbox.processor import Processor
from outbox.registry import get_consumer
from outbox.repair.acts import Act, Via
from payments.models import Payment
from tests.integration.compensation.world import World, as_record
from tests.integration.dashboard.conftest import Pay, browser_of
from tests.integration.dashboard.poisoned import poison as poisoned_by_another

POSTS = ("chaos-act", "chaos-poison", "tour-pay", "tour-repair")


@pytest.fixture
def demo(settings: Settings, tmp_path: Path) -> None:
    """A demo whose parent process has gone away: nobody listens."""
    settings.DEMO_CONTROL = str(tmp_path / "nobody.sock")


@pytest.fixture
def anonymous() -> Client:
    return Client(headers={"host": "localhost"})


def test_outside_a_demo_nobody_finds_any_of_it(operator: User, anonymous: Client) -> None:
    for client in (browser_of(operator), anonymous):
        assert client.get(reverse("chaos")).status_code == 404
        assert client.get(reverse("chaos-stream")).status_code == 404
        for name in POSTS:
            assert client.post(reverse(name)).status_code == 404
    for address in (reverse("flow"), f"{reverse('flow')}?tour=2"):
        page = browser_of(operator).get(address).content.decode()
        assert "/chaos/" not in page
        assert "New here?" not in page
    assert not Payment.objects.exists()


def test_in_a_demo_viewers_look_operators_act_and_others_do_neither(
    demo: None, first: User, viewer: User, operator: User, anonymous: Client
) -> None:
    chaos = reverse("chaos")
    assert anonymous.get(chaos).headers["Location"].startswith("/login/?next=")
    assert browser_of(first).get(chaos).status_code == 403
    for user, acts in ((viewer, False), (operator, True)):
        page = browser_of(user).get(chaos)
        assert page.status_code == 200
        assert ("Poison an event</button>" in page.content.decode()) == acts
    for name in POSTS:
        for user in (first, viewer):
            assert browser_of(user).post(reverse(name), {"act": "stop relay-1"}).status_code == 403
        assert anonymous.post(reverse(name)).headers["Location"].startswith("/login/?next=")
    assert not Payment.objects.exists()


def test_merchants_hear_nothing_of_the_parts(demo: None, first: User) -> None:
    assert browser_of(first).get(reverse("chaos-stream")).status_code == 403


def test_a_form_from_elsewhere_is_refused(demo: None, operator: User) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    client.force_login(operator)
    for name in POSTS:
        assert client.post(reverse(name), {"act": "stop relay-1"}).status_code == 403


def test_a_demo_that_has_gone_away_is_said(demo: None, operator: User) -> None:
    client = browser_of(operator)
    assert "does not answer" in client.get(reverse("chaos")).content.decode()
    answer = client.post(reverse("chaos-act"), {"act": "stop relay-1"})
    assert answer.status_code == 503
    assert "does not answer" in answer.content.decode()
    for strange in ("", "list ", "dance relay-1", "\x00"):
        assert client.post(reverse("chaos-act"), {"act": strange}).status_code == 409


def test_a_form_leads_nowhere_else(
    demo: None, operator: User, first: User, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser_of(operator)
    for address, leads in (("https://elsewhere.example/", "/chaos/"), ("/?tour=2", "/?tour=2")):
        answer = client.post(reverse("chaos-poison"), {"next": address})
        assert answer.headers["Location"].partition("?poisoned=")[0] == leads
    assert caplog.messages.count("operator poisoned an event") == 2
    told = OutboxEvent.objects.filter(type=PaymentValidated.type).order_by("id").values_list("id", "key")
    acts = Act.objects.order_by("id").values_list("who", "act", "result", "event_id", "key")
    assert list(acts) == [("operator", "poison", "done", *one) for one in told]


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.LIST])
def test_what_is_done_to_a_part_is_written_down_and_what_is_refused_is_not(
    demo: None, operator: User, monkeypatch: pytest.MonkeyPatch, verb: Verb
) -> None:
    def ask(verb: Verb, name: str = "") -> list[DemoPart]:
        if name == "relay-2":
            raise Refused("There is no relay-2.")
        if name == "relay-3":
            raise NoAnswer("timed out")
        if name == "relay-4":
            raise Away("nobody is there")
        return []

    monkeypatch.setattr("dashboard.chaos.views.ask", ask)
    client = browser_of(operator)
    assert client.post(reverse("chaos-act"), {"act": f"{verb} relay-2"}).status_code == 409
    assert not Act.objects.exists()
    client.post(reverse("chaos-act"), {"act": f"{verb} relay-1"})
    act = Act.objects.get()
    assert (act.who, act.via, act.act, act.result) == ("operator", "dashboard", verb, "done")
    assert "relay-1" in act.detail
    assert client.post(reverse("chaos-act"), {"act": f"{verb} relay-3"}).status_code == 503
    unknown = Act.objects.latest("id")
    assert (unknown.who, unknown.act, unknown.result) == ("operator", verb, "pending")
    assert "relay-3" in unknown.detail
    assert "No answer came" in unknown.detail
    assert client.post(reverse("chaos-act"), {"act": f"{verb} relay-4"}).status_code == 503
    assert Act.objects.count() == 2


def test_what_was_poisoned_is_said_and_led_to(demo: None, operator: User, first: User, pay: Pay) -> None:
    client = browser_of(operator)
    panel = client.post(reverse("chaos-poison")).headers["Location"]
    payment = Payment.objects.get()
    page = client.get(panel).content.decode()
    assert f'href="{reverse("payment", args=[payment.id])}"' in page
    assert f'href="{reverse("letters")}?consumer=orders&amp;key={payment.id}"' in page
    pay(first)
    for other in (Payment.objects.exclude(id=payment.id).get().id, uuid4(), "\x00"):
        assert "Poisoned:" not in client.get(reverse("chaos"), {"poisoned": str(other)}).content.decode()


def test_without_a_merchant_nothing_can_be_poisoned(demo: None, operator: User) -> None:
    assert browser_of(operator).post(reverse("chaos-poison")).status_code == 409


def orders_hear(world: World) -> None:
    """One event at a time, as an instance does after a failure; what is refused is a dead letter at once."""
    processor = Processor(get_consumer("orders"))
    for event in OutboxEvent.objects.filter(topic="payments").order_by("position"):
        try:
            processor.run([as_record(event)])
        except NonRecoverable as error:
            processor.condemn(error, attempts=1)
            processor.run([as_record(event)])
        world.read["orders"] = event.position


@pytest.mark.django_db(transaction=True)
def test_a_poisoned_event_dies_in_orders_alone_and_is_repaired_by_its_data(
    demo: None, first: User, operator: User
) -> None:
    began = clock.now()
    world = World(merchant_id=first.id)
    client = browser_of(operator)
    client.post(reverse("chaos-poison"))
    payment = Payment.objects.get()
    assert (payment.status, payment.merchant_id) == ("refunded", first.id)
    orders_hear(world)
    world.settle("loyalty", "payments")
    [letter] = DeadLetter.objects.all()
    assert (letter.consumer, letter.type, letter.key) == ("orders", PaymentValidated.type, str(payment.id))
    assert letter.cause.endswith("LinesDoNotAddUp")
    assert WaitingEvent.objects.filter(consumer="orders", key=str(payment.id)).count() == 1
    assert list(LedgerEntry.objects.order_by("created_at").values_list("points", flat=True)) == [12, -12]
    place = Place(5, began)
    answer = client.post(reverse("tour-repair"), {"tour": "5", "from": str(place.milliseconds)})
    assert answer.headers["Location"] == place.address
    letter.refresh_from_db()
    assert letter.state == LetterState.REPLAYED
    assert not WaitingEvent.objects.exists()
    world.settle()
    order = Order.objects.get()
    assert (order.status, sum(line.quantity * line.unit_price_minor for line in order.as_lines())) == (
        "cancelled",
        payment.amount_minor,
    )
    # The event itself is as it was; who corrected it is written down.
    event = OutboxEvent.objects.get(id=letter.event_id)
    assert json.loads(bytes(event.payload))["lines"][-1]["unit_price_minor"] == 150
    act = Act.objects.get(act="replay")
    assert (act.who, act.via, act.ran) == (operator.username, Via.DASHBOARD, 1)
    commands = Act.objects.exclude(act="replay").order_by("id").values_list("who", "act", "result")
    assert set(commands) == {(operator.username, "poison", "done")}


def test_the_tour_repairs_what_it_has_poisoned_and_nothing_else(
    demo: None, first: User, operator: User
) -> None:
    place = Place(5, clock.now() - timedelta(minutes=1))
    asked = {"tour": "5", "from": str(place.milliseconds)}
    other = poisoned_by_another(first.id)
    assert browser_of(operator).post(reverse("tour-repair"), asked).status_code == 404
    other.refresh_from_db()
    assert other.state == LetterState.OPEN


def test_to_repair_in_the_tour_takes_the_permission_to_replay(
    demo: None, first: User, operator: User
) -> None:
    place = Place(5, clock.now() - timedelta(minutes=1))
    letter = poisoned_by_another(first.id)
    payload = json.loads(bytes(letter.payload or b""))
    letter.payload = json.dumps({**payload, "customer_id": poison.CUSTOMER}).encode()
    letter.save(update_fields=["payload"])
    asked = {"tour": "5", "from": str(place.milliseconds)}
    assert 'id="tour-repair"' in browser_of(operator).get("/", asked).content.decode()
    held = Permission.objects.get(content_type__app_label="outbox", codename="replay_deadletter")
    Group.objects.get(name="operator").permissions.remove(held)
    assert 'id="tour-repair"' not in browser_of(operator).get("/", asked).content.decode()
    assert browser_of(operator).post(reverse("tour-repair"), asked).status_code == 403


def test_corrected_data_comes_to_the_amount() -> None:
    told = {"amount_minor": 1_250, "lines": [{"sku": "a", "quantity": 2, "unit_price_minor": 500}] * 1}
    told["lines"] += [{"sku": "b", "quantity": 1, "unit_price_minor": 150}]  # type: ignore[operator]
    fixed = json.loads(poison.corrected(json.dumps(told).encode()))
    assert [line["unit_price_minor"] for line in fixed["lines"]] == [500, 250]


def test_the_tour_is_for_those_who_see_everything(
    demo: None, first: User, viewer: User, operator: User
) -> None:
    flow, now = f"{reverse('flow')}?tour=1", f"{reverse('tour-now')}?tour=1"
    assert 'id="tour"' not in browser_of(first).get(flow).content.decode()
    assert browser_of(first).get(now).status_code == 403
    for user, acts in ((viewer, False), (operator, True)):
        page = browser_of(user).get(flow).content.decode()
        assert "Tour 1 of 5" in page
        assert ('id="tour-pay"' in page) == acts


def test_the_tour_is_offered_until_it_is_begun_or_declined(demo: None, operator: User) -> None:
    for address in ("/?tour=1", "/?tour=0"):
        client = browser_of(operator)
        assert "New here?" in client.get("/").content.decode()
        assert "New here?" not in client.get(address).content.decode()
        assert "New here?" not in client.get("/").content.decode()


def test_outside_a_demo_the_tour_says_what_to_type(operator: User) -> None:
    client = browser_of(operator)
    pages = [client.get(f"/?tour={number}").content.decode() for number in range(1, 6)]
    assert "Make it with the form below" in pages[0]
    assert "manage.py run_consumer loyalty" in pages[3]
    assert not any(
        '<button class="button' in page.partition('id="tour"')[2].partition("</section>")[0] for page in pages
    )


@pytest.mark.parametrize(
    "query", ["tour=6", "tour=-1", "tour=x", "tour=", "tour=1&from=x", "tour=1&from=9" + "9" * 30]
)
def test_strange_places_are_no_error(operator: User, query: str) -> None:
    assert browser_of(operator).get(f"/?{query}").status_code == 200
    known = query.startswith("tour=1&")
    assert browser_of(operator).get(f"/tour/?{query}").status_code == (200 if known else 404)


def test_a_step_is_told_anew_only_when_something_has_changed(operator: User, first: User, pay: Pay) -> None:
    client = browser_of(operator)
    place = Place(1, clock.now())
    query = {"tour": "1", "from": str(place.milliseconds)}
    step = client.get(reverse("tour-now"), query)
    mark = step.content.decode().partition('name="told" value="')[2].partition('"')[0]
    assert client.get(reverse("tour-now"), query | {"told": mark}).status_code == 204
    event = OutboxEvent.objects.get(id=pay(first))
    # Somebody else's is no step of this newcomer's.
    assert client.get(reverse("tour-now"), query | {"told": mark}).status_code == 204
    changed = client.get(reverse("tour-now"), query | {"told": mark, "payment": str(event.key)})
    assert changed.status_code == 200
    assert 'data-state="ok"' in changed.content.decode()


def test_lags_are_read_once_a_second_however_many_take_the_tour(operator: User, viewer: User) -> None:
    Member.objects.create(consumer=STOPPED, name="host:7", partitions=[])
    seconds = itertools.count(0.0, 0.4)
    shared_lags.forget()
    with pytest.MonkeyPatch.context() as patch, CaptureQueriesContext(connection) as captured:
        patch.setattr(shared_lags, "_clock", lambda: next(seconds))
        pages = [
            browser_of(user).get(reverse("tour-now"), {"tour": step}).content.decode()
            for user in (operator, viewer)
            for step in ("3", "4")
        ]
    shared_lags.forget()
    # The first read is of the first moment, and the next of a second later.
    assert sum('FROM "outbox_consumer_position"' in query["sql"] for query in captured.captured_queries) == 2
    assert all(STOPPED in page for page in pages)


def test_paying_in_the_tour_follows_the_payment(demo: None, operator: User, first: User) -> None:
    place = Place(2, clock.now())
    answer = browser_of(operator).post(
        reverse("tour-pay"), {"tour": "2", "from": str(place.milliseconds), "next": place.address}
    )
    payment = Payment.objects.get()
    assert payment.status == "validated"
    assert answer.headers["Location"] == f"{place.address}&payment={payment.id}"
