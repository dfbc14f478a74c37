"""What those who read have in common: clients of no group, lost clients, and messages as records."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer as Client
from confluent_kafka import Message

from outbox.kafka.base import Record, client_options, known

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def onlooker(kafka: dict[str, str], group: str, options: dict[str, Any]) -> Client:
    """A client that reads what it assigns to itself, and is a member of no group.

    librdkafka asks for the name of one; it is never joined, and nothing is committed by itself. What
    retention has taken is passed over.
    """
    return Client(
        client_options(
            kafka,
            **{
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                **options,
            },
        )
    )


def let_go(client: Client) -> None:
    """Close a client that is lost: it may take long, or not come back, and holds nothing that is needed."""
    threading.Thread(target=client.close, daemon=True).start()


def record_from(message: Message) -> Record:
    """librdkafka's message as the engine knows records."""
    return Record(
        topic=str(message.topic()),
        partition=known(message.partition()),
        offset=known(message.offset()),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=_headers(message),
        timestamp=_timestamp(message),
    )


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    try:
        headers: Any = message.headers()
    except UnicodeDecodeError:
        # A name that is not UTF-8: no CloudEvent, and a dead letter for having no headers.
        return []
    return headers or []


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _timestamp(message: Message) -> datetime | None:
    kind, milliseconds = message.timestamp()
    try:
        return None if kind == 0 else _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
