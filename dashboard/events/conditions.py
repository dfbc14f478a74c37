"""What an event must be like, each as SQL about the row `event`.

What other tables say of it is looked up for each event, as a value: as a join it might become a scan.
"""

from collections.abc import Iterator
from uuid import UUID

from dashboard.events.question import REFUSED, WAITING, Question, asked_consumers
from dashboard.events.walks import Statement
from outbox.ids import lowest_id
from outbox.models import Generation, GenerationState
from outbox.registry import all_consumers, get_consumer, subscribers
from outbox.selectors import PENDING

_UNPUBLISHED = "(SELECT 1 FROM outbox_publication WHERE event_id = event.id LIMIT 1) IS NULL"
_HELD = "(SELECT 1 FROM outbox_refusal WHERE event_id = event.id)"
_OUTCOME = (
    "coalesce((SELECT outcome FROM outbox_inbox WHERE event_id = event.id AND consumer = %s"
    " AND generation <> ALL(%s::smallint[]) ORDER BY generation DESC LIMIT 1), 'pending')"
)
_HOW_MANY_KNOW_IT = (
    "(SELECT count(DISTINCT consumer) FROM outbox_inbox WHERE event_id = event.id AND consumer = ANY(%s)"
    " AND consumer || ' ' || generation <> ALL(%s::text[]))"
)


def conditions(question: Question, *, correlation_id: UUID | None = None) -> Iterator[Statement]:
    """All that the question asks but for its text; `correlation_id` is what that was found to be."""
    if correlation_id is not None:
        yield Statement("correlation_id = %s", [correlation_id])
    for column in ("type", "topic", "owner"):
        if wanted := getattr(question, column):
            yield Statement(f"{column} = %s", [wanted])
    if question.since is not None:
        yield Statement("id >= %s", [lowest_id(question.since)])
    if question.until is not None:
        yield Statement("id < %s", [lowest_id(question.until)])
    if question.status == WAITING:
        yield Statement(f"({_UNPUBLISHED} AND {_HELD} IS NULL)", [])
    elif question.status == REFUSED:
        yield Statement(f"{_HELD} IS NOT NULL", [])
    elif question.status == PENDING and not question.consumer:
        yield _any_of(list(_pending_anywhere()))
    elif question.status:
        yield _any_of(list(_at_consumers(question)))


def live_generations(names: list[str]) -> dict[str, int]:
    """The generation that speaks for each of these consumers."""
    live = Generation.objects.filter(consumer__in=names, state=GenerationState.LIVE)
    return dict.fromkeys(names, 1) | dict(live.values_list("consumer", "generation"))


def _at_consumers(question: Question) -> Iterator[Statement]:
    hidden = _hidden()
    for name in asked_consumers(question):
        generations = [generation for consumer, generation in hidden if consumer == name]
        yield Statement(
            f"(topic = ANY(%s) AND {_OUTCOME} = %s)",
            [get_consumer(name).topics, name, generations, question.status],
        )


def _pending_anywhere() -> Iterator[Statement]:
    hidden = [f"{consumer} {generation}" for consumer, generation in _hidden()]
    for topic in sorted({topic for consumer in all_consumers() for topic in consumer.topics}):
        names = [consumer.name for consumer in subscribers(topic)]
        yield Statement(f"(topic = %s AND {_HOW_MANY_KNOW_IT} < %s)", [topic, names, hidden, len(names)])


def _hidden() -> list[tuple[str, int]]:
    """Generations that do not speak for their consumers, as outbox.selectors has it."""
    silent = Generation.objects.filter(state__in=[GenerationState.BUILDING, GenerationState.ABANDONED])
    return list(silent.values_list("consumer", "generation"))


def _any_of(several: list[Statement]) -> Statement:
    parameters = [one for statement in several for one in statement.parameters]
    return Statement(f"({' OR '.join(statement.sql for statement in several) or 'false'})", parameters)
