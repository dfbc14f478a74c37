"""The wire form of every event. A change here is a change that other teams' programs see."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from contracts import analytics, loyalty, orders, payments
from contracts.analytics import SlotTotalled, StatusTotal
from contracts.fields import Line
from contracts.loyalty import PointsEarned, PointsReversed
from contracts.orders import OrderCancelled, OrderCreated, OrderModified
from contracts.payments import PaymentRefunded, PaymentRejected, PaymentRequested, PaymentValidated
from contracts.topics import TOPICS
from outbox.errors import ContractViolation
from outbox.events import Event

PAYMENT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
ORDER = UUID("01890a5d-ac96-774b-bcce-b302099a8059")
ENTRY = UUID("01890a5d-ac96-774b-bcce-b302099a805a")
LINES = (Line(sku="tea", quantity=2, unit_price_minor=625),)

PAYMENT_JSON = (
    '{"payment_id":"01890a5d-ac96-774b-bcce-b302099a8057","merchant_id":"01890a5d-ac96-774b-bcce-b302099a8058",'
    '"customer_id":"c-1","amount_minor":1250,"currency":"EUR",'
    '"lines":[{"sku":"tea","quantity":2,"unit_price_minor":625}]}'
)
ORDER_JSON = (
    '{"order_id":"01890a5d-ac96-774b-bcce-b302099a8059","payment_id":"01890a5d-ac96-774b-bcce-b302099a8057",'
    '"merchant_id":"01890a5d-ac96-774b-bcce-b302099a8058","customer_id":"c-1","total_minor":1250,"currency":"EUR",'
    '"lines":[{"sku":"tea","quantity":2,"unit_price_minor":625}]}'
)
POINTS_JSON = (
    '{"entry_id":"01890a5d-ac96-774b-bcce-b302099a805a","merchant_id":"01890a5d-ac96-774b-bcce-b302099a8058",'
    '"customer_id":"c-1","payment_id":"01890a5d-ac96-774b-bcce-b302099a8057","points":12}'
)

SLOT_JSON = (
    '{"slot":"5m","slot_start":"2026-01-02T03:05:00Z","currency":"EUR","totals":['
    '{"status":"pending","count":2,"amount_minor":2500},'
    '{"status":"validated","count":1,"amount_minor":1250}]}'
)


def payment_facts() -> dict[str, Any]:
    return {
        "payment_id": PAYMENT,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "lines": LINES,
    }


def order_facts() -> dict[str, Any]:
    return {
        "order_id": ORDER,
        "payment_id": PAYMENT,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "total_minor": 1250,
        "currency": "EUR",
        "lines": LINES,
    }


def points_facts() -> dict[str, Any]:
    return {
        "entry_id": ENTRY,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "payment_id": PAYMENT,
        "points": 12,
    }


def and_(text: str, more: str) -> str:
    """The object with one more member at its end."""
    return f"{text[:-1]},{more}}}"


# Each event with its type, topic, key and JSON.
GOLDEN: list[tuple[Event, str, str, str, str]] = [
    (
        PaymentRequested(**payment_facts()),
        "payments.PaymentRequested.v1",
        "payments",
        str(PAYMENT),
        PAYMENT_JSON,
    ),
    (
        PaymentValidated(**payment_facts()),
        "payments.PaymentValidated.v1",
        "payments",
        str(PAYMENT),
        PAYMENT_JSON,
    ),
    *(
        (
            PaymentRejected(**payment_facts(), cause=cause),
            "payments.PaymentRejected.v1",
            "payments",
            str(PAYMENT),
            and_(PAYMENT_JSON, f'"cause":"{cause}"'),
        )
        for cause in ("command", "expiry")
    ),
    *(
        (
            PaymentRefunded(**payment_facts(), cause=cause),
            "payments.PaymentRefunded.v1",
            "payments",
            str(PAYMENT),
            and_(PAYMENT_JSON, f'"cause":"{cause}"'),
        )
        for cause in ("command", "order_cancelled")
    ),
    (OrderCreated(**order_facts()), "orders.OrderCreated.v1", "orders", str(ORDER), ORDER_JSON),
    (
        OrderModified(**order_facts(), changed=("lines", "shipping_address")),
        "orders.OrderModified.v1",
        "orders",
        str(ORDER),
        and_(ORDER_JSON, '"changed":["lines","shipping_address"]'),
    ),
    *(
        (
            OrderCancelled(**order_facts(), cause=cause),
            "orders.OrderCancelled.v1",
            "orders",
            str(ORDER),
            and_(ORDER_JSON, f'"cause":"{cause}"'),
        )
        for cause in ("command", "payment_refunded")
    ),
    (
        PointsEarned(**points_facts()),
        "loyalty.PointsEarned.v1",
        "loyalty",
        f"{MERCHANT}:c-1",
        POINTS_JSON,
    ),
    (
        PointsReversed(**points_facts()),
        "loyalty.PointsReversed.v1",
        "loyalty",
        f"{MERCHANT}:c-1",
        POINTS_JSON,
    ),
    (
        SlotTotalled(
            slot="5m",
            slot_start=datetime(2026, 1, 2, 3, 5, tzinfo=UTC),
            currency="EUR",
            totals=(
                StatusTotal(status="pending", count=2, amount_minor=2500),
                StatusTotal(status="validated", count=1, amount_minor=1250),
            ),
        ),
        "analytics.SlotTotalled.v1",
        "payment-volumes",
        "5m:2026-01-02T03:05Z:EUR",
        SLOT_JSON,
    ),
]


@pytest.mark.parametrize(
    ("event", "type_name", "topic", "key", "text"), GOLDEN, ids=lambda value: str(value)[:30]
)
def test_wire_form(event: Event, type_name: str, topic: str, key: str, text: str) -> None:
    assert (event.type, event.topic.name, event.key()) == (type_name, topic, key)
    assert event.to_json().decode() == text
    assert type(event).from_json(text.encode()) == event


@pytest.mark.parametrize("event", [row[0] for row in GOLDEN], ids=lambda event: event.type)
def test_readers_pass_over_fields_they_do_not_know(event: Event) -> None:
    later = {**json.loads(event.to_json()), "added_in_a_later_release": {"deep": [1, 2]}}
    assert type(event).from_json(json.dumps(later).encode()) == event


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payment_id", "not-a-uuid"),
        ("customer_id", "Jane Doe <jane@example.org>"),
        ("customer_id", "c-1\n"),
        ("customer_id", ""),
        ("amount_minor", 0),
        ("amount_minor", -1),
        ("amount_minor", 12.5),
        ("amount_minor", "1250"),
        ("amount_minor", 10**15 + 1),
        ("currency", "eur"),
        ("currency", "EUR\n"),
        ("lines", [{"sku": "a\u0000b", "quantity": 1, "unit_price_minor": 1}]),
        ("lines", [{"sku": "a", "quantity": 0, "unit_price_minor": 1}]),
        ("lines", None),
    ],
)
def test_data_outside_the_contract_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    data = {**json.loads(PAYMENT_JSON), field: value}
    with pytest.raises(ContractViolation, match=field):
        PaymentValidated.from_json(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("contract", "text", "field", "value"),
    [
        (PaymentRejected, PAYMENT_JSON, "cause", "whim"),
        (PaymentRejected, PAYMENT_JSON, "cause", "order_cancelled"),
        (PaymentRejected, PAYMENT_JSON, "cause", None),
        (PaymentRefunded, PAYMENT_JSON, "cause", "expiry"),
        (OrderCancelled, ORDER_JSON, "cause", "order_cancelled"),
        (OrderModified, ORDER_JSON, "changed", []),
        (OrderModified, ORDER_JSON, "changed", ["total"]),
        (PointsReversed, POINTS_JSON, "points", -1),
        (PointsReversed, POINTS_JSON, "points", 1.0),
    ],
)
def test_what_an_ending_says_is_one_of_few_words(
    contract: type[Event], text: str, field: str, value: object
) -> None:
    data = {**json.loads(text), field: value}
    with pytest.raises(ContractViolation, match=field):
        contract.from_json(json.dumps(data).encode())


@pytest.mark.parametrize("contract", [PaymentRejected, PaymentRefunded, OrderCancelled])
def test_no_ending_is_without_its_cause(contract: type[Event]) -> None:
    text = ORDER_JSON if contract is OrderCancelled else PAYMENT_JSON
    with pytest.raises(ContractViolation, match="cause"):
        contract.from_json(text.encode())


def test_every_event_of_the_project_has_a_golden_form() -> None:
    modules = (analytics, loyalty, orders, payments)
    declared = {
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Event) and "type" in vars(one)
    }
    assert {type(row[0]) for row in GOLDEN} == declared
    assert len(declared) == 10


def test_missing_field_is_refused_by_name() -> None:
    data = json.loads(PAYMENT_JSON)
    del data["merchant_id"]
    with pytest.raises(ContractViolation, match="merchant_id"):
        PaymentValidated.from_json(json.dumps(data).encode())


def test_topics() -> None:
    kept = {topic.name: topic.retention for topic in TOPICS}
    assert set(kept) == {"payments", "orders", "loyalty", "payment-volumes"}
    assert [name for name, retention in kept.items() if retention is None] == ["orders"]


def test_contracts_can_be_read_without_django() -> None:
    program = (
        "import sys; from contracts import analytics, loyalty, orders, payments;"
        " print('django' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
