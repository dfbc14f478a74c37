"""Markup in every text that reaches a page, in every state that matters: none of it may ever run.

As a program it plants into the database of the settings, and prints what addresses are made of; with "away"
it takes away what would disturb others.
"""

import base64
import json
import os
import sys
from datetime import timedelta

PLANTED = '<script>window.owned=1</script><img src=x onerror="window.owned=1">'


def plant() -> dict[str, str]:
    """Plant it all; return what stands in addresses, by the names of their placeholders."""
    from django.db import transaction

    from accounts.services import ensure_user
    from contracts.fields import Line
    from contracts.money import Money
    from orders.models import Order, OrderLine
    from outbox import clock
    from outbox.alerts.alarms import Alarm, Channel, Watch
    from outbox.consumer_models import ConsumerState, DiscardedEvent, LostStretch, PartitionOwner
    from outbox.envelope import cloudevent_headers
    from outbox.ids import new_id
    from outbox.keys import hash_of, shard_of
    from outbox.models import DeadLetter, OutboxEvent, ParkedKey, Refusal, WaitingEvent
    from outbox.positions import Member
    from outbox.publishing import OutboxRow, write
    from outbox.repair.acts import Act
    from outbox.repair.jobs import RepairJob
    from payments.models import Payment
    from payments.services import reject_payment, request_payment, validate_payment

    now = clock.now()
    merchant = ensure_user(username=PLANTED, password=None, groups=["merchant"])
    money = Money(1_250, "EUR")
    lines = [Line(sku=PLANTED, quantity=1, unit_price_minor=money.amount_minor)]
    made = [
        request_payment(
            merchant_id=merchant.id,
            customer_id="c-1",
            money=money,
            at=now,
            lines=lines,
            metadata={"note": PLANTED},
        )[0]
        for _ in range(3)
    ]
    _, validated_event = validate_payment(payment_id=made[0].id, merchant_id=merchant.id, at=now)
    reject_payment(payment_id=made[1].id, merchant_id=merchant.id, reason=PLANTED, at=now)

    # Contracts let no markup into a customer's id; one that came in otherwise is text as well.
    other = Payment.objects.get(id=made[2].id)
    other.id, other.customer_id = new_id(now), PLANTED
    other.save(force_insert=True)
    # Its order is made here: no consumer hears of this payment.
    with transaction.atomic():
        order = Order.objects.create(
            id=new_id(now), payment_id=other.id, merchant_id=merchant.id, customer_id=PLANTED,
            total_minor=money.amount_minor, currency=money.currency, shipping_address=PLANTED, created_at=now,
        )  # fmt: skip
        OrderLine.objects.create(
            order=order, position=1, sku=PLANTED, quantity=1, unit_price_minor=money.amount_minor
        )

    def event(key: str, event_type: str) -> OutboxEvent:
        row_id = new_id(now)
        payload = json.dumps({"note": PLANTED}).encode()
        with transaction.atomic():
            write(
                [
                    OutboxRow(
                        id=row_id, shard=shard_of(key), topic="payments", key=key, hash=hash_of(key),
                        partition=None, type=event_type, source=f"/{PLANTED}", occurred_at=now,
                        correlation_id=row_id, causation_id=None, traceparent=None,
                        content_type="application/json", payload=payload, owner=str(merchant.id),
                    )
                ],
                using="default",
            )  # fmt: skip
        return OutboxEvent.objects.get(id=row_id)

    # Two of a type that nobody handles, and one whose contract this breaks: a dead letter wherever read.
    # Each has a key of its own: consumers that run meanwhile come upon none of what is planted below.
    foreign, other_foreign = event(f"{PLANTED}1", PLANTED), event(f"{PLANTED}2", PLANTED)
    broken = event(f"{PLANTED}3", "payments.PaymentValidated.v1")
    headers = cloudevent_headers(
        id=other_foreign.id, source=f"/{PLANTED}", type=PLANTED, occurred_at=now, key=PLANTED, number=1,
        correlation_id=other_foreign.id, causation_id=None, traceparent=None, content_type="application/json",
    )  # fmt: skip
    record = {
        "partition": 0, "offset": 7, "number": 1, "type": PLANTED, "raw_key": PLANTED.encode(),
        "payload": json.dumps({"note": PLANTED}).encode(), "timestamp": now,
        "headers": [
            [name, None if value is None else base64.b64encode(value).decode()]
            for name, value in [*headers, (PLANTED, PLANTED.encode())]
        ],
    }  # fmt: skip
    whose = {"consumer": "orders", "generation": 1, "topic": "payments", "key": PLANTED}
    letter = DeadLetter.objects.create(
        **record, **whose, event_id=other_foreign.id, occurred_at=now, cause=PLANTED, error=PLANTED,
        traceback=PLANTED, fingerprint=PLANTED, attempts=3, died_at=now,
    )  # fmt: skip
    DeadLetter.objects.create(
        **record, **whose, event_id=foreign.id, occurred_at=now, cause="Settled", error=PLANTED,
        traceback=PLANTED, fingerprint=PLANTED, attempts=3, died_at=now, state="discarded", settled_at=now,
    )  # fmt: skip
    parked = ParkedKey.objects.create(**whose, cause="dead_letter", event_id=other_foreign.id, parked_at=now)
    gap = {**whose, "key": f"{PLANTED}4"}
    missing = ParkedKey.objects.create(
        **gap, cause="gap", event_id=foreign.id, parked_at=now - timedelta(hours=1)
    )
    WaitingEvent.objects.create(**record, **whose, event_id=foreign.id, received_at=now)
    Refusal.objects.create(
        event_id=other_foreign.id, position=other_foreign.position, topic="payments", key=PLANTED,
        cause=PLANTED, refused_at=now,
    )  # fmt: skip
    DiscardedEvent.objects.create(
        consumer="orders", generation=1, event_id=foreign.id, topic="payments", partition=0, offset=8,
        key=PLANTED, number=2, type=PLANTED, cause=PLANTED, error=PLANTED, reason=PLANTED, discarded_at=now,
    )  # fmt: skip
    # It reads no payments' events, of which what is planted consists.
    ConsumerState.objects.update_or_create(
        name="payments", defaults={"paused_at": now, "paused_by": PLANTED, "reason": PLANTED}
    )
    later = now + timedelta(hours=1)
    Member.objects.create(consumer="orders", name=PLANTED, partitions=[], seen_at=later)
    PartitionOwner.objects.get_or_create(
        consumer_group="planted", topic="payments", partition=0, defaults={"instance": PLANTED}
    )
    LostStretch.objects.create(consumer_group="orders", topic="payments", partition=0, first=1, last=2)
    Act.objects.create(
        who=PLANTED, via="dashboard", act="pause", why=PLANTED, consumer="payments", topic="",
        result="paused", error=PLANTED, detail=PLANTED, ran=0, waiting=0,
    )  # fmt: skip
    Act.objects.create(
        who=PLANTED, via="dashboard", act="replay", why=PLANTED, consumer="orders", topic="payments",
        key=PLANTED, letter_id=letter.id, event_id=other_foreign.id, result="died",
        error=PLANTED, detail=PLANTED, ran=0, waiting=1,
    )  # fmt: skip
    job = RepairJob.objects.create(
        who=PLANTED, via="dashboard", why=PLANTED, act="replay", wanted={"key": PLANTED}, total=2, more=False,
        state="stopped", results={"died": 1}, trouble=PLANTED, ended_at=now, ended_by=PLANTED,
    )  # fmt: skip
    told = {"subject": PLANTED, "said": PLANTED, "since": now, "noticed_at": now, "seen_at": now}
    alarm = Alarm.objects.create(
        **told, cause="late", severity="critical", silenced_until=later, silenced_by=PLANTED,
        silenced_why=PLANTED,
    )  # fmt: skip
    Alarm.objects.create(**told, cause="gaps", ended_at=now)
    Channel.objects.update_or_create(
        name="webhook", defaults={"position": 0, "reason": PLANTED, "failing_since": now}
    )
    Watch.objects.update_or_create(id=1, defaults={"checked_at": now})
    return {
        "payment_id": str(made[0].id),
        "rejected_id": str(made[1].id),
        "pending_id": str(made[2].id),
        "ordered_id": str(other.id),
        "event_id": str(other_foreign.id),
        "broken_event_id": str(broken.id),
        "validated_event_id": str(validated_event),
        "letter_id": str(letter.id),
        "parked_id": str(parked.id),
        "gap_id": str(missing.id),
        "alarm_id": str(alarm.id),
        "job_id": str(job.id),
        "act": "replay",
        "name": "orders",
        "steering": "pause",
        "consumer": "orders",
        "topic": "payments",
        "command": "refund",
        "fingerprint": PLANTED,
    }


def take_away() -> None:
    """What is planted no longer stops or colours anything. Events stay: they are never altered."""
    from outbox.consumer_models import ConsumerState, LostStretch
    from outbox.models import DeadLetter, ParkedKey, Refusal, WaitingEvent
    from outbox.positions import Member

    ConsumerState.objects.filter(paused_by=PLANTED).update(paused_at=None, paused_by="", reason="")
    for rows in (DeadLetter, ParkedKey, WaitingEvent, Refusal, LostStretch):
        rows.objects.all().delete()
    Member.objects.filter(name=PLANTED).delete()


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
    django.setup()
    if "away" in sys.argv:
        take_away()
    else:
        print(json.dumps(plant()))  # noqa: T201
