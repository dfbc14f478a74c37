"""What a projection's rebuild has read is shown nowhere before it is live, and then nothing of the old."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction

from contracts.payments import PaymentRequested
from dashboard.selectors import processed, standing_aside
from outbox import clock, publish
from outbox.models import Generation, GenerationState
from outbox.selectors import get_trace, settled

pytestmark = pytest.mark.django_db


@pytest.fixture
def event_id() -> UUID:
    event = PaymentRequested(
        payment_id=UUID(int=1), merchant_id=UUID(int=2), customer_id="c", amount_minor=1, currency="EUR"
    )
    with transaction.atomic():
        return publish(event)


def received(event_id: UUID, *, generation: int, outcome: str = "processed") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", type,'
            " outcome, occurred_at) VALUES (%s, 'analytics', %s, 'payments', 0, 0, '', %s, now())",
            [event_id, generation, outcome],
        )


def parked(*, generation: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_parked_key (consumer, generation, topic, key, cause, event_id)"
            " VALUES ('analytics', %s, 'payments', 'k', 'gap', gen_random_uuid())",
            [generation],
        )


def statuses(event_id: UUID) -> dict[str, str]:
    trace = get_trace(event_id=event_id, owner=None)
    assert trace is not None
    return {reception.consumer: reception.status for reception in trace.consumers}


def test_what_is_being_built_is_not_shown(event_id: UUID) -> None:
    Generation.objects.create(consumer="analytics", generation=1, state=GenerationState.LIVE)
    Generation.objects.create(consumer="analytics", generation=2, state=GenerationState.BUILDING)
    received(event_id, generation=2)
    parked(generation=2)
    assert statuses(event_id)["analytics"] == "pending"
    assert settled([event_id]) == {}
    now = clock.now()
    lately = processed(now=now, since=now - timedelta(minutes=1))["analytics"]
    assert (lately.per_second, lately.fresh) == (0, 0)
    assert str(standing_aside()["analytics"][0]) == "0"


def test_once_live_it_speaks_and_the_one_it_replaced_for_what_it_lacks(event_id: UUID) -> None:
    Generation.objects.create(consumer="analytics", generation=1, state=GenerationState.RETIRED)
    received(event_id, generation=1, outcome="dead")
    parked(generation=1)
    now = clock.now()
    assert statuses(event_id)["analytics"] == "dead"
    received(event_id, generation=2)
    Generation.objects.create(
        consumer="analytics", generation=2, state=GenerationState.LIVE, live_at=now + timedelta(minutes=1)
    )
    assert statuses(event_id)["analytics"] == "processed"
    assert str(standing_aside()["analytics"][0]) == "0"
    # It was processed before it was live: by a rebuild, whose delays say nothing.
    assert processed(now=now, since=now - timedelta(minutes=1))["analytics"].fresh == 1
