"""A relay on a standby refuses to run, whenever it finds itself there; on a promoted one it goes on."""

import threading
from collections.abc import Iterator

import pytest
from django.db import connections, transaction

from devstack.stack import Stack
from outbox import Topic, publish
from outbox.config import Config, config
from outbox.errors import StandbyDatabase
from outbox.models import OutboxEvent, Publication
from outbox.relay import Relay
from tests.database_link import DatabaseLink, relays_connect_through
from tests.engine import Running, Writer, all_records, new_topic, noted_on, numbers_by_key, until
from tests.standby import Standby

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

KEYS = [f"key {number}" for number in range(16)]  # in every shard some


@pytest.fixture
def standby(stack: Stack) -> Iterator[Standby]:
    with Standby(stack.postgres) as standby:
        yield standby


@pytest.fixture
def link(stack: Stack) -> Iterator[DatabaseLink]:
    """The address at which relays look for the database."""
    with DatabaseLink(stack.postgres.url) as link, relays_connect_through(link):
        yield link


def relay(stop: threading.Event) -> Relay:
    threading.current_thread().name = "outbox-relay"
    return Relay(stop=stop, settings=Config(kafka=config().kafka, topics=config().topics, relay_page=8))


def publish_some(topic: Topic) -> None:
    event = noted_on(topic)
    for _ in range(2):
        with transaction.atomic():
            for about in KEYS:
                publish(event(about=about))


def all_sent() -> bool:
    return Publication.objects.values("event_id").distinct().count() == OutboxEvent.objects.count()


def test_a_relay_refuses_a_standby(
    standby: Standby, link: DatabaseLink, caplog: pytest.LogCaptureFixture
) -> None:
    standby.catch_up()
    link.lead_to(standby.url)
    with Running(relay, may_fail=True) as refused:
        until(lambda: refused.error)
    assert isinstance(refused.error, StandbyDatabase)
    assert "must read the primary" in str(refused.error)
    assert "is away" not in caplog.text


def test_a_relay_stops_where_its_address_leads_to_a_standby_and_goes_on_when_that_is_promoted(
    standby: Standby, link: DatabaseLink
) -> None:
    topic = new_topic()
    with Writer() as held, Writer() as client:
        held.begin()
        held.call(lambda: publish(noted_on(topic)(about="of nobody")))
        with Running(relay, may_fail=True) as demoted:
            publish_some(topic)
            until(all_sent)
            publish_some(topic)
            standby.catch_up()
            link.lead_to(standby.url)
            until(lambda: demoted.error)
        assert isinstance(demoted.error, StandbyDatabase)
        publish_some(topic)
        standby.catch_up()
        standby.promote()
        client.call(lambda: setattr(threading.current_thread(), "name", "outbox-relay-client"))
        with Running(relay):
            client.call(lambda: publish_some(topic))
            until(lambda: client.call(all_sent))
        numbers = numbers_by_key(all_records(topic))
        # The transaction that was open was no more than begun.
        assert numbers == {about: list(range(1, 9)) for about in KEYS}
        held.end(rollback=True)
        client.call(connections.close_all)


def test_a_relay_refuses_to_read_from_a_standby_alone(
    stack: Stack, standby: Standby, link: DatabaseLink
) -> None:
    """An address may lead anywhere at each connection; what the standby lacks would be skipped."""
    topic = new_topic()
    standby.catch_up()
    standby.pause()
    for _ in range(4):
        publish_some(topic)
    link.lead_to(standby.url, session="outbox-relay-reader")
    with Running(relay, may_fail=True) as refused:
        until(lambda: refused.error or all_sent())
    assert isinstance(refused.error, StandbyDatabase)
    link.lead_to(stack.postgres.url, session="outbox-relay-reader")
    with Running(relay):
        until(all_sent)
    assert numbers_by_key(all_records(topic)) == {about: list(range(1, 9)) for about in KEYS}
