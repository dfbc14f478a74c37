"""Another team's program: plain confluent-kafka and the CloudEvents SDK, nothing of this project."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cloudevents.http import CloudEvent
from cloudevents.kafka import KafkaMessage, from_binary
from confluent_kafka import Consumer, Message
from django.core.management import call_command
from django.db import connections

from contracts.money import Money
from devstack.stack import Stack
from outbox.relay import Relay
from payments.services import request_payment, validate_payment
from tests.engine import until

pytestmark = pytest.mark.django_db(transaction=True)


def read(bootstrap: str, *, payment_id: str, count: int) -> list[Message]:
    """What such a program does: subscribe, poll, look at the key."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"other-{uuid4()}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["payments"])
    found: list[Message] = []

    def poll() -> bool:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None and message.key() == payment_id.encode():
            found.append(message)
        return len(found) >= count

    until(poll, every=0)
    consumer.close()
    return found


def as_cloudevent(message: Message) -> CloudEvent:
    headers: Any = message.headers()
    value: Any = message.value()
    return from_binary(KafkaMessage(headers=dict(headers), key=message.key(), value=value))


def test_the_topics_are_read_with_public_tools_alone(stack: Stack) -> None:
    call_command("topics", "apply")
    at = datetime.now(UTC)
    payment, _ = request_payment(
        merchant_id=UUID(int=1),
        customer_id="customer-1",
        money=Money(amount_minor=1_250, currency="EUR"),
        at=at,
    )
    _, event_id = validate_payment(payment_id=payment.id, merchant_id=None, at=at + timedelta(seconds=1))
    stop = threading.Event()

    def relay() -> None:
        Relay(stop=stop).run()
        connections.close_all()

    thread = threading.Thread(target=relay)
    thread.start()
    try:
        requested, validated = map(
            as_cloudevent, read(stack.kafka_bootstrap, payment_id=str(payment.id), count=2)
        )
    finally:
        stop.set()
        thread.join()
    assert requested["type"] == "payments.PaymentRequested.v1"
    assert validated["type"] == "payments.PaymentValidated.v1"
    assert validated["id"] == str(event_id)
    assert validated["specversion"] == "1.0"
    assert validated["source"] == "/eventsite/payments"
    assert validated["subject"] == str(payment.id)
    assert validated["datacontenttype"] == "application/json"
    assert datetime.fromisoformat(validated["time"]) == at + timedelta(seconds=1)
    assert (requested["sequence"], validated["sequence"]) == ("0" * 18 + "1", "0" * 18 + "2")
    assert UUID(validated["correlationid"])
    data = validated.data if isinstance(validated.data, dict) else json.loads(validated.data or b"")
    assert data["payment_id"] == str(payment.id)
    assert (data["amount_minor"], data["currency"], data["customer_id"]) == (1_250, "EUR", "customer-1")
