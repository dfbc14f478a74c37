"""What must survive: rows that were committed and records that were acknowledged."""

from pathlib import Path

import psycopg
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parents[3]
# Shared with the demo and between runs: each jar's content is verified at every start.
JARS = PROJECT / ".devstack" / "jars"
TOPIC = "ledger"
TIMEOUT = 30.0


def commit(database_url: str, text: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS ledger (text text)")
        connection.execute("INSERT INTO ledger VALUES (%s)", [text])


def committed(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM ledger ORDER BY text")]


def make_topic(stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(TIMEOUT)


def acknowledge(stack: Stack, text: str) -> None:
    """Produce a record and wait until the broker has acknowledged it."""
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap, "enable.idempotence": True})
    failures: list[object] = []
    producer.produce(TOPIC, text.encode(), on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(TIMEOUT) == 0
    assert failures == [None]


def acknowledged(stack: Stack) -> list[str]:
    """All records of the topic, to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.kafka_bootstrap,
            "group.id": "ledger-reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe([TOPIC])
    texts: list[str] = []
    try:
        while (message := consumer.poll(TIMEOUT)) is not None and message.error() is None:
            texts.append((message.value() or b"").decode())
    finally:
        consumer.close()
    return texts


def record(stack: Stack, text: str) -> None:
    commit(stack.database_url, text)
    acknowledge(stack, text)
