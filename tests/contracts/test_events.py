"""The wire form of every event. A change here is a change that other teams' programs see."""

import json
import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest

from contracts.fields import Line
from contracts.loyalty import PointsEarned
from contracts.orders import OrderCreated
from contracts.payments import PaymentRequested, PaymentValidated
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


def payment_facts() -> dict[str, Any]:
    return {
        "payment_id": PAYMENT,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "lines": LINES,
    }


GOLDEN = [
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
    (
        OrderCreated(
            order_id=ORDER,
            payment_id=PAYMENT,
            merchant_id=MERCHANT,
            customer_id="c-1",
            total_minor=1250,
            currency="EUR",
            lines=LINES,
        ),
        "orders.OrderCreated.v1",
        "orders",
        str(ORDER),
        ORDER_JSON,
    ),
    (
        PointsEarned(entry_id=ENTRY, merchant_id=MERCHANT, customer_id="c-1", payment_id=PAYMENT, points=12),
        "loyalty.PointsEarned.v1",
        "loyalty",
        f"{MERCHANT}:c-1",
        POINTS_JSON,
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
        "import sys, contracts.payments, contracts.orders, contracts.loyalty; print('django' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
