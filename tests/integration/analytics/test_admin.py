"""Slots in the admin: everyone's, of the live generation, to be looked at."""

from datetime import UTC, datetime

import pytest
from django.test import Client

from accounts.services import ensure_user
from analytics.handlers import consumer
from analytics.models import Slot
from outbox.processor import Processor
from tests.integration.analytics.paid import record, told

pytestmark = pytest.mark.django_db


def test_slots_are_listed_by_width_and_changed_by_nobody(client: Client) -> None:
    Processor(consumer).run(
        [record(told(at=datetime(2026, 11, 24, 12, 34, tzinfo=UTC), amount_minor=123_456))]
    )
    client.force_login(ensure_user(username="root", password=None, is_staff=True, is_superuser=True))
    hours = client.get("/admin/analytics/slotlisting/").content.decode()
    minutes = client.get("/admin/analytics/slotlisting/?width=1m").content.decode()
    assert hours.count("1234.56") == minutes.count("1234.56") == 1
    assert "12:00:00" in hours
    assert "12:34:00" in minutes
    assert client.get("/admin/analytics/slotlisting/add/").status_code == 403
    Slot.objects.update(generation=2)
    assert "1234.56" not in client.get("/admin/analytics/slotlisting/").content.decode()
