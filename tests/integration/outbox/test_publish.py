from typing import ClassVar
import pytest
from django.db import transaction
from outbox import Event, Topic, publish
from outbox.models import OutboxEvent
from contracts.topics import PAYMENTS

class Noted(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tests.Noted.v1"
    topic: ClassVar[Topic] = PAYMENTS
    name: str
    def key(self) -> str:
        return self.name

@pytest.mark.django_db(transaction=True)
def test_x(stack):
    with transaction.atomic():
        i = publish(Noted(name="a")); publish(Noted(name="a"))
    print(OutboxEvent.objects.order_by("position").values())
    assert 0
