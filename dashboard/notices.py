"""What a reader of the flow must know beside the figures: what is away or paused, and since when."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dashboard.measure import DatabaseSample, KafkaSample
from dashboard.sampler import Reading
from outbox.pausing import ITSELF


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader must know to read the figures right."""

    state: str
    text: str
    since: datetime | None = None
    reason: str = ""


def kafka_notice(kafka: Reading[Any], consequence: str) -> Iterator[Notice]:
    """That Kafka does not answer, and what that means for what is shown; nothing while it does."""
    if kafka.away_since:
        text = f"Kafka does not answer. {consequence} Away since"
        yield Notice("bad", text, kafka.away_since, kafka.reason)


def notices_of(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> Iterator[Notice]:
    """The gravest first."""
    if database.away_since:
        yield Notice(
            "bad",
            "The database does not answer. Nothing can be written or processed until it does, and nothing is "
            "lost. The figures are the last it gave. Away since",
            database.away_since,
            database.reason,
        )
    yield from kafka_notice(
        kafka,
        "Payments go on: their events wait in the outbox and are sent when it is back. The figures of its "
        "topics are the last it gave.",
    )
    sample = None if database.away_since else database.value
    if sample and sample.relay and not sample.relay.leased:
        yield Notice(
            "bad",
            "No relay is running, so nothing leaves the outbox. Start one: manage.py run_relay",
        )
    if sample and sample.behind:
        paused = {name: one.pause for name, one in sample.behind.items() if one.pause}
        for name, pause in sorted(paused.items()):
            itself = pause.by == ITSELF
            yield Notice(
                "bad" if itself else "warn",
                f"{name} has paused itself: what it could not process is kept, the rest waits. Mend the"
                " cause, then resume it. Paused since"
                if itself
                else f"{name} is paused by {pause.by}: its events wait in Kafka. Since",
                pause.at,
                pause.reason,
            )
    for what, since in sample.slow.items() if sample else ():
        yield Notice(
            "warn", f"Not known at the moment: {what}. The database takes too long to say. Since", since
        )
