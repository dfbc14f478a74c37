"""A consumer that remembers what it was given, and instances of it."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from confluent_kafka.admin import AdminClient

from outbox import Consumer, Delivery, Topic, handles
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.kafka import Record
from outbox.models import InboxEntry
from tests.engine import Noted, Running, noted_on, record_of, until


class Listener:
    """A consumer that remembers what it was given, and fails as told."""

    def __init__(self, topic: Topic, **declared: Any) -> None:
        self.event = noted_on(topic)
        self.topic = topic
        self.consumer = Consumer(
            name=f"listener-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5), **declared
        )
        self.calls: list[str] = []
        self.workers: list[ConsumerWorker] = []
        self.fail: Callable[[str], Exception | None] = lambda _: None
        handles(self.consumer, self.event)(self.handle)

    def handle(self, delivery: Delivery[Noted]) -> None:
        self.calls.append(delivery.event.text)
        if error := self.fail(delivery.event.text):
            raise error

    def worker(self, stop: threading.Event) -> ConsumerWorker:
        threading.current_thread().name = "outbox-consumer"
        worker = ConsumerWorker(self.consumer, stop=stop)
        self.workers.append(worker)
        return worker

    def paused(self) -> None:
        """Return once all of its instances hold still."""
        until(lambda: all(worker.paused for worker in self.workers))

    def processed(self) -> int:
        return InboxEntry.objects.filter(consumer=self.consumer.name, outcome="processed").count()


def instance(listener: Listener) -> Running:
    """An instance of its consumer."""
    return Running(listener.worker)


def notes(listener: Listener, about: str, *texts: str, partition: int = 0, first: int = 1) -> list[Record]:
    return [
        record_of(listener.event(about=about, text=text), number=number, partition=partition)
        for number, text in enumerate(texts, start=first)
    ]


def members(listener: Listener) -> set[str]:
    """The group's members that have a partition."""
    admin = AdminClient({**config().kafka})
    group = admin.describe_consumer_groups([listener.consumer.name])[listener.consumer.name].result()
    return {member.member_id for member in group.members if member.assignment.topic_partitions}
