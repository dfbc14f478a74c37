"""The parts of the consumers' pages that stay up to date: read and rendered once for all who watch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.template.loader import render_to_string

from dashboard.asking import one_look
from dashboard.consumers.history import WINDOWS, history_of
from dashboard.consumers.rebuilding import rebuilding
from dashboard.consumers.selectors import asides, generations, latest_acts, standings
from dashboard.consumers.standing import Standing
from dashboard.live import LivePage, Regions, asked_once
from dashboard.notices import Notice, kafka_notice
from dashboard.sampler import Reading
from dashboard.topics.observer import Seen, answers, observer
from outbox import clock
from outbox.registry import get_consumer


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody watches: one consumer over a window, or all; and whether they may act."""

    may_act: bool
    name: str = ""
    window: str = ""


# While Kafka is away.
_MEANWHILE = (
    "Nothing can be read until it does, and nothing is lost: instances that are there go on by themselves "
    "when it is back. Lags are as they last told."
)
# Links and buttons are in regions that seldom change: whoever has one in focus keeps it.
_OF_EACH = ("state", "why", "figures", "steer")
_OF_STANDING = ("partitions", "members", "generations")


def read_list(questions: Collection[Asked]) -> Mapping[Asked, Regions]:
    """Every consumer's panel."""
    kafka = observer.look()
    found, notice = standings(kafka=known_of(kafka)), _kafka(kafka)
    return {
        asked: notice
        | {region: html for standing in found for region, html in _of_each(standing, asked.may_act).items()}
        for asked in questions
    }


def read_one(questions: Collection[Asked]) -> Mapping[Asked, Regions]:
    """How each consumer stands that somebody watches."""
    names = sorted({asked.name for asked in questions})
    kafka = observer.look()
    consumers = [get_consumer(name) for name in names]
    found = {one.consumer.name: one for one in standings(consumers, kafka=known_of(kafka))}
    pages: dict[Asked, Regions] = {}
    for asked in questions:
        standing = found[asked.name]
        context = _standing_context(standing)
        pages[asked] = {
            **_kafka(kafka),
            **_of_each(standing, asked.may_act),
            **{part: _rendered(part, context) for part in _OF_STANDING},
        }
    return pages


def read_asides(questions: Collection[Asked]) -> Mapping[Asked, Regions]:
    """What consumers have set aside, counted at most so far; of all, or of those somebody watches."""
    names = {asked.name for asked in questions}
    found = asides(None if "" in names else [get_consumer(name) for name in sorted(names)])
    return {
        asked: {
            f"aside-{name}": _rendered("aside", {"consumer": get_consumer(name), "aside": aside})
            for name, aside in found.items()
            if asked.name in ("", name)
        }
        for asked in questions
    }


def _acts(name: str) -> Regions:
    consumer = get_consumer(name)
    with one_look(using=consumer.using):
        return {"acts": _rendered("acts", {"acts": latest_acts(consumer)})}


def _history(asked: Asked) -> Regions:
    consumer = get_consumer(asked.name)
    with one_look(using=consumer.using):
        now = clock.now(using=consumer.using)
        return {
            "history": _rendered("history", {"history": history_of(consumer, WINDOWS[asked.window], now=now)})
        }


def context_of(standing: Standing, asked: Asked) -> dict[str, Any]:
    """What the templates of one consumer's page need."""
    consumer = standing.consumer
    return {
        **_standing_context(standing),
        "may_act": asked.may_act,
        "history": history_of(consumer, WINDOWS[asked.window], now=standing.lag.at),
        "acts": latest_acts(consumer),
    }


def _standing_context(standing: Standing) -> dict[str, Any]:
    consumer = standing.consumer
    return {
        "standing": standing,
        "consumer": consumer,
        "generations": generations(consumer) if consumer.projection is not None else [],
        "rebuilding": rebuilding(standing),
    }


def known_of(kafka: Reading[Seen]) -> bool | None:
    """Whether Kafka answers; None while that is not known."""
    return answers(kafka, now=datetime.now(UTC))


def notices(kafka: Reading[Seen]) -> list[Notice]:
    """What must be known of Kafka beside how consumers stand."""
    return list(kafka_notice(kafka, _MEANWHILE))


def _kafka(kafka: Reading[Seen]) -> dict[str, str]:
    return {"kafka": render_to_string("dashboard/parts/notices.html", {"notices": notices(kafka)})}


def _of_each(standing: Standing, may_act: bool) -> Regions:
    context = {"standing": standing, "consumer": standing.consumer, "may_act": may_act}
    return {f"{part}-{standing.consumer.name}": _rendered(part, context) for part in _OF_EACH}


def _rendered(part: str, context: dict[str, Any]) -> str:
    return render_to_string(f"dashboard/consumers/{part}.html", context)


def _anybody(asked: Asked) -> Asked:
    """The same, whoever asks."""
    return replace(asked, may_act=False)


list_page = LivePage[Asked]("consumers", {"consumers": read_list, "aside": read_asides})
one_page = LivePage[Asked](
    "consumer",
    {
        "standing": read_one,
        "aside": read_asides,
        "history": asked_once(_history, _anybody, lambda regions, _: regions),
        "acts": asked_once(_acts, lambda asked: asked.name, lambda regions, _: regions),
    },
)
