"""Consumers in the admin: pausing them, and what they passed over or never got."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display
from unfold.views import ChangeList

from outbox.bounded import many
from outbox.clock import moment_of
from outbox.consumer_models import ConsumerState, DiscardedEvent, LostStretch
from outbox.keyset import KeysetChangeList
from outbox.operated import Asked, Given, Operated, Shown, not_without_it
from outbox.pausing import mark, pause, pause_of, resume
from outbox.readonly import ConsumerFilter, EventRows, ReadOnly, line_of
from outbox.rebuild_requests import give_up, half_built, request_rebuild
from outbox.rebuild_requests import mark as mark_of_half
from outbox.registry import all_consumers, get_consumer
from outbox.repair.acts import Operator
from outbox.seeking import MOST_SKIPPED, PREVIEW_SECONDS, moment_to_seek, preview_within, seek


class Declared(KeysetChangeList):
    """All declared consumers. Of those that were never paused there is no row: looking makes none."""

    def get_results(self, request: HttpRequest) -> None:
        """They are few: one page has them all."""
        super().get_results(request)
        names = sorted(one.name for one in all_consumers() if self.query in ("", one.name))
        rows = ConsumerState.objects.in_bulk(names)
        self.result_list = [rows.get(name) or ConsumerState(name=name) for name in names]
        self.result_count = self.full_result_count = len(self.result_list)


@admin.register(ConsumerState)
class ConsumerStateAdmin(Operated[ConsumerState]):
    """Which consumers are paused, by whom and why; operators pause them, and have them go on."""

    list_display = ("name", "shown_state", "paused_at", "paused_by", line_of("reason"), "resumed_at")
    actions = ("pause", "resume", "seek", "rebuild", "give_up")
    found_by = ("name",)
    search_help_text = "A whole name"
    ordering = ("name",)
    list_per_page = 1_000

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConsumerState]:
        """Those that are declared. What is acted on has a row from then on."""
        names = sorted(consumer.name for consumer in all_consumers())
        if request.method == "POST":
            rows = [ConsumerState(name=name) for name in names]
            ConsumerState.objects.bulk_create(rows, ignore_conflicts=True)
        queryset: QuerySet[ConsumerState] = super().get_queryset(request)
        return queryset.filter(name__in=names)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """With those that have no row."""
        return Declared

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> ConsumerState | None:
        """Also one that has no row."""
        found: ConsumerState | None = super().get_object(request, object_id, from_field)
        is_declared = any(consumer.name == object_id for consumer in all_consumers())
        return ConsumerState(name=object_id) if found is None and is_declared else found

    @display(description="state", label={"paused": "warning", "not paused": "success"})
    def shown_state(self, state: ConsumerState) -> str:
        """Whether its instances process nothing."""
        return "paused" if state.paused_at else "not paused"

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Whether the user may pause consumers, and have them go on."""
        return self.may(request, "steer_consumer")

    @admin.action(description="Pause: process nothing until resumed", permissions=["steer"])
    def pause(self, request: HttpRequest, queryset: QuerySet[ConsumerState]) -> HttpResponse | None:
        """Have every instance of these process nothing."""
        names = [state.name for state in queryset]
        asked = Asked(
            "pause",
            "Pause consumers",
            f"Pauses {many(len(names), 'consumer')}: within a second nothing is processed there any more;"
            " events wait in Kafka until somebody resumes.",
            [["Consumer"], *([name] for name in names)],
            _pause,
            lambda state: str(state.name),
            needs_reason=True,
        )
        return self.ask_and_act(request, queryset, asked)

    @admin.action(description="Resume: go on where they were", permissions=["steer"])
    def resume(self, request: HttpRequest, queryset: QuerySet[ConsumerState]) -> HttpResponse | None:
        """Have these go on."""
        names = [state.name for state in queryset]
        asked = Asked(
            "resume",
            "Resume consumers",
            f"Resumes {many(len(names), 'consumer')}: what has waited in Kafka meanwhile is processed.",
            [["Consumer", "Paused by", "Why"]]
            + [[state.name, state.paused_by or "it is not", state.reason] for state in queryset],
            not_without_it,
            lambda state: str(state.name),
            shown=Shown(_pauses, _resume),
        )
        return self.ask_and_act(request, queryset, asked)

    @admin.action(description="Move to another time (while it is stopped)", permissions=["steer"])
    def seek(self, request: HttpRequest, queryset: QuerySet[ConsumerState]) -> HttpResponse | None:
        """Have one read on from another time."""
        asked = Asked(
            "seek",
            "Move a consumer",
            "Each of its partitions goes to the first record at or after that time. What comes again and is"
            " known is dropped; what is skipped is discarded for good. No instance of it may run meanwhile.",
            [["Consumer"], *([state.name] for state in queryset)],
            not_without_it,
            lambda state: str(state.name),
            needs_reason=True,
            given=Given(
                "to",
                "To, with its offset from UTC, like 2026-11-26T14:00:00Z",
                lambda text: moment_to_seek(moment_of(text)),
                _seek,
                preview=_moves,
            ),
        )
        return self.ask_and_act(request, queryset, asked)

    @admin.action(description="Rebuild: build the projection again", permissions=["steer"])
    def rebuild(self, request: HttpRequest, queryset: QuerySet[ConsumerState]) -> HttpResponse | None:
        """Have workers build these again, beside the live ones."""
        names = [state.name for state in queryset]
        asked = Asked(
            "rebuild",
            "Rebuild consumers",
            "Celery's workers read their topics from the beginning into a new generation, which then replaces"
            " the live one. Only projections are built again.",
            [["Consumer", "Projection", "Half built"]]
            + [[name, "yes" if get_consumer(name).projection else "no", _half_built(name)] for name in names],
            not_without_it,
            lambda state: str(state.name),
            needs_reason=True,
            shown=Shown(_generations, _rebuild),
        )
        return self.ask_and_act(request, queryset, asked)

    @admin.action(description="Give up a half-built rebuild", permissions=["steer"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[ConsumerState]) -> HttpResponse | None:
        """Have what was built of these be removed; the live generations stay."""
        names = [state.name for state in queryset]
        asked = Asked(
            "give_up",
            "Give up rebuilds",
            "What has been built so far is removed, and another rebuild begins from the beginning. The live"
            " generation stays as it is.",
            [["Consumer", "Half built"]] + [[name, _half_built(name)] for name in names],
            not_without_it,
            lambda state: str(state.name),
            needs_reason=True,
            shown=Shown(_generations, _give_up),
        )
        return self.ask_and_act(request, queryset, asked)


def _half_built(name: str) -> str:
    half = half_built(get_consumer(name))
    return "nothing" if half is None else f"generation {half.generation}"


def _generations(states: list[Any]) -> dict[Any, str]:
    return {state.name: mark_of_half(half_built(get_consumer(state.name))) for state in states}


def _give_up(state: Any, operator: Operator, shown: str) -> str:
    numbers = give_up(consumer=get_consumer(state.name), operator=operator, shown=shown)
    return f"generation {', '.join(map(str, numbers))} is given up; a worker removes it."


def _moves(state: Any, to: datetime) -> list[str]:
    return [
        f"{move.topic}/{move.partition}: {move.now:,} → {move.then:,}; {move.again:,} come again, of which"
        f" {move.known:,} are known; {move.skipped:,} are skipped"
        for move in preview_within(get_consumer(state.name), to=to, seconds=PREVIEW_SECONDS)
    ]


def _seek(state: Any, operator: Operator, to: datetime) -> str:
    moves = seek(
        get_consumer(state.name),
        to=to,
        by=operator.name,
        skip=operator.reason,
        reason=operator.reason,
        via=operator.via,
        at_most=MOST_SKIPPED,
    )
    again, skipped = sum(move.again for move in moves), sum(move.skipped for move in moves)
    return f"it reads on from {to.isoformat()}: {again:,} records come again, {skipped:,} are skipped."


def _rebuild(state: Any, operator: Operator, shown: str) -> str:
    is_news = request_rebuild(consumer=get_consumer(state.name), operator=operator, shown=shown)
    return "it will be built again." if is_news else "it is being built already."


def _pause(state: Any, operator: Operator) -> str:
    consumer = get_consumer(state.name)
    made = pause(consumer=consumer, by=operator.name, reason=operator.reason, via=operator.via)
    return f"it is paused by {made.by}."


def _pauses(states: list[Any]) -> dict[Any, str]:
    return {state.name: mark(pause_of(get_consumer(state.name))) for state in states}


def _resume(state: Any, operator: Operator, shown: str) -> str:
    consumer = get_consumer(state.name)
    was_paused = resume(
        consumer=consumer, by=operator.name, reason=operator.reason, via=operator.via, shown=shown
    )
    return "it goes on." if was_paused else "it was not paused."


@admin.register(DiscardedEvent)
class DiscardedEventAdmin(EventRows[DiscardedEvent]):
    """Events that consumers passed over by their declared policy."""

    list_display = (
        *("event", "consumer", "generation", "type", "short_key"),
        *(line_of("cause"), line_of("reason"), "discarded_at"),
    )
    list_filter = (ConsumerFilter,)
    found_by = ("event_id",)
    search_help_text = "A whole event id"
    ordering = ("-id",)


@admin.register(LostStretch)
class LostStretchAdmin(ReadOnly[LostStretch]):
    """Records that Kafka deleted before a consumer had come to them."""

    list_display = ("consumer_group", "topic", "partition", "first", "last", "noticed_at")
    list_display_links = None
    ordering = ("-id",)
