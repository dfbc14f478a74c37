"""The database's clock jumps by a day: relays go on, and nobody keeps a shard for a day."""

import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import transaction
from django.db.models.functions import Now

from outbox import Topic, publish, refusals
from outbox.config import Config, config
from outbox.keys import SHARDS
from outbox.lease import Leases
from outbox.models import OutboxEvent, Publication, Refusal
from outbox.relay import Relay
from outbox.relay_models import RelayMember, Shard
from tests.database_clock import DatabaseClock
from tests.engine import Running, all_records, new_topic, noted_on, numbers_by_key, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

DAY = timedelta(days=1)
KEYS = [f"key {number}" for number in range(16)]  # in every shard some


@pytest.fixture
def clock() -> Iterator[DatabaseClock]:
    with DatabaseClock() as clock:
        yield clock


def relay(stop: threading.Event) -> Relay:
    return Relay(stop=stop, settings=Config(kafka=config().kafka, topics=config().topics, lease=1.0))


def publish_and_see_it_sent(topic: Topic) -> None:
    event = noted_on(topic)
    for _ in range(2):
        with transaction.atomic():
            for about in KEYS:
                publish(event(about=about))
    until(lambda: Publication.objects.values("event_id").distinct().count() == OutboxEvent.objects.count())


def holders() -> list[int]:
    """How many shards each owner has, the dead and the living."""
    owners = list(Shard.objects.values_list("owner", flat=True))
    return sorted(owners.count(owner) for owner in set(owners) if owner)


def leased_by_this_clock() -> bool:
    """Whether both relays have renewed all of their leases since the clock jumped."""
    soon = {"expires_at__gt": Now(), "expires_at__lt": Now() + timedelta(seconds=2)}
    return RelayMember.objects.filter(**soon).count() == 2 and Shard.objects.filter(**soon).count() == SHARDS


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_relays_go_on_in_order_through_a_jump_and_back(clock: DatabaseClock, jump: timedelta) -> None:
    topic = new_topic()
    with Running(relay), Running(relay):
        until(lambda: holders() == [4, 4])
        publish_and_see_it_sent(topic)
        for ahead in (jump, timedelta()):
            clock.be_ahead(ahead)
            publish_and_see_it_sent(topic)
            until(lambda: leased_by_this_clock() and holders() == [4, 4])
            publish_and_see_it_sent(topic)
    times = OutboxEvent.objects.order_by("position").values_list("occurred_at", flat=True)
    assert max(abs(later - earlier) for earlier, later in pairwise(times)) > DAY / 2
    numbers = numbers_by_key(all_records(topic))
    assert numbers == {about: list(range(1, len(times) // len(KEYS) + 1)) for about in KEYS}


def test_what_died_while_the_clock_was_ahead_blocks_nobody_afterwards(clock: DatabaseClock) -> None:
    clock.be_ahead(DAY)
    dead = Leases(using="default", seconds=1.0)
    dead.beat()
    dead.take(SHARDS)
    clock.be_right()
    with Running(relay):
        publish_and_see_it_sent(new_topic())
        until(lambda: holders() == [SHARDS])
        assert not Shard.objects.filter(owner=dead.owner).exists()
        until(lambda: RelayMember.objects.count() == 1)


def test_what_was_asked_for_while_the_clock_was_ahead_is_tried_once(clock: DatabaseClock) -> None:
    topic = new_topic(partitions=1, **{"max.message.bytes": "2000"})
    with transaction.atomic():
        guilty = publish(noted_on(topic)(about="bad", text=secrets.token_hex(5_000)))
    with Running(relay):
        until(lambda: Refusal.objects.count() == 1)
    clock.be_ahead(DAY)
    refusals.resend(event_id=guilty)
    clock.be_right()
    with Running(relay):
        until(lambda: not Refusal.objects.filter(requested_at__isnull=False).exists())
    assert Refusal.objects.get().event_id == guilty
