"""The outbox and the inbox in the admin. What was set aside is in outbox/repair (admin.py, keys_admin.py)."""

from typing import TypeVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.decorators import display

from outbox import consumer_admin, refusals  # noqa: F401  (registered there)
from outbox.alerts import admin as alerts_admin  # noqa: F401
from outbox.bounded import many
from outbox.envelope import headers_of
from outbox.listings import InboxListing, PublicationListing
from outbox.models import OutboxEvent, Outcome, Refusal, TopicRecord, WaitingEvent
from outbox.operated import Asked, Operated
from outbox.readonly import (
    ConsumerFilter,
    EventRows,
    LatelyByEventFilter,
    LatelyFilter,
    ListingRows,
    ReadOnly,
    event_link,
    line_of,
)
from outbox.relay_models import Shard
from outbox.repair import acts_admin, keys_admin  # noqa: F401  (registered there)
from outbox.repair import admin as repair_admin  # noqa: F401
from outbox.selectors import traces
from outbox.shown import headers_text, payload_text

M = TypeVar("M", bound=Model)

_OUTCOMES = {
    Outcome.PROCESSED.value: "success",
    Outcome.UNHANDLED.value: "info",
    Outcome.PARKED.value: "warning",
    Outcome.DEAD.value: "danger",
    Outcome.DISCARDED.value: "info",
    "pending": "warning",
}


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnly[OutboxEvent]):
    """Events as they were published, and what became of each."""

    list_display = ("id", "type", "topic", "short_key", "number", "occurred_at")
    list_filter = (LatelyFilter,)
    found_by = ("id", "key", "correlation_id")
    search_help_text = "A whole event id, key or correlation id"
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("id", "type", "occurred_at", "became")}),
        ("Data", {"fields": ("data",)}),
        ("Headers in Kafka", {"fields": ("headers",)}),
        (
            "Outbox row",
            {
                "fields": (
                    ("topic", "key", "number"),
                    ("correlation_id", "caused_by"),
                    ("position", "txid", "shard"),
                    ("source", "owner"),
                )
            },
        ),
    )
    readonly_fields = ("became", "data", "headers", "caused_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxEvent]:
        """Without the payloads, which only one event's page shows."""
        queryset: QuerySet[OutboxEvent] = super().get_queryset(request).defer("payload")
        return queryset

    @admin.display(description="what became of it")
    def became(self, event: OutboxEvent) -> SafeString:
        """Where the event went, and who processed it when."""
        return render_to_string("admin/outbox/became.html", {"trace": traces([event])[0]})

    @admin.display(description="data")
    def data(self, event: OutboxEvent) -> SafeString:
        """The payload, as text."""
        return render_to_string(
            "admin/outbox/text.html", {"text": payload_text(event.payload, event.content_type)}
        )

    @admin.display(description="headers")
    def headers(self, event: OutboxEvent) -> SafeString:
        """As the relay sends them."""
        return render_to_string("admin/outbox/pairs.html", {"pairs": headers_text(headers_of(event))})

    @admin.display(description="caused by")
    def caused_by(self, event: OutboxEvent) -> SafeString | str:
        """The event whose handler published this one."""
        return event_link(event.causation_id) if event.causation_id else "a request"


@admin.register(PublicationListing)
class PublicationAdmin(ListingRows[PublicationListing]):
    """Where Kafka put each event."""

    list_display = ("event", "partition", "offset", "published_at")
    list_filter = (LatelyByEventFilter,)
    found_by = ("event_id",)
    search_help_text = "A whole event id"
    ordering = ("-event_id", "-partition", "-offset")


@admin.register(InboxListing)
class InboxAdmin(ListingRows[InboxListing]):
    """What consumers have moved past."""

    list_display = (
        "event",
        "consumer",
        "generation",
        "type",
        "shown_outcome",
        "short_key",
        "partition",
        "offset",
        "processed_at",
    )
    list_filter = (LatelyByEventFilter,)
    found_by = ("event_id",)
    search_help_text = "A whole event id"
    ordering = ("-event_id", "-consumer", "-generation")

    @display(description="outcome", label=_OUTCOMES)
    def shown_outcome(self, row: InboxListing) -> str:
        """What became of the event there."""
        return row.outcome


@admin.register(WaitingEvent)
class WaitingEventAdmin(EventRows[WaitingEvent]):
    """Events behind a parked key, in the order in which they will run."""

    list_display = ("event", "type", "short_key", "topic", "consumer", "generation", "number", "received_at")
    list_filter = (ConsumerFilter,)
    found_by = ("key", "event_id")
    search_help_text = "A whole key or event id"
    ordering = ("consumer", "generation", "topic", "key", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[WaitingEvent]:
        """Without the records themselves."""
        queryset: QuerySet[WaitingEvent] = (
            super().get_queryset(request).defer("payload", "headers", "raw_key")
        )
        return queryset


@admin.register(Refusal)
class RefusalAdmin(Operated[Refusal], EventRows[Refusal]):
    """Events that Kafka refused, and those held behind them; operators send them again, or give them up."""

    list_display = (
        "event",
        "topic",
        "short_key",
        line_of("cause"),
        "refused_at",
        "requested_at",
        "discarded",
    )
    actions = ("resend", "discard")
    found_by = ("event_id", "key")
    search_help_text = "A whole event id or key"
    ordering = ("-refused_at", "-event_id")

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have events sent again."""
        return self.may(request, "resend_refusal")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have a placeholder sent in an event's place."""
        return self.may(request, "discard_refusal")

    @admin.action(description="Send again, with what is held behind", permissions=["resend"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Refusal]) -> HttpResponse | None:
        """Have the relay try these once more."""
        asked = Asked(
            "resend",
            "Send refused events again",
            f"Sends {many(queryset.count(), 'event')} once more, and then what is held behind, in order.",
            self._table(queryset),
            lambda row, operator: _sent(refusals.resend(event_id=row.event_id, operator=operator)),
        )
        return self.ask_and_act(request, queryset, asked)

    @admin.action(description="Discard: a placeholder goes in its place", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Refusal]) -> HttpResponse | None:
        """Give these up, for a reason that readers are told."""
        asked = Asked(
            "discard",
            "Discard refused events",
            f"Gives up {many(queryset.count(), 'event')} for good: a placeholder with the reason goes in the"
            " place of each, then what is held behind it.",
            self._table(queryset),
            lambda row, operator: _sent(
                refusals.discard(event_id=row.event_id, reason=operator.reason, operator=operator)
            ),
            needs_reason=True,
        )
        return self.ask_and_act(request, queryset, asked)

    def _table(self, rows: QuerySet[Refusal]) -> list[list[str]]:
        said = [[str(row.event_id), row.topic, row.key or "none", row.cause] for row in rows]
        return [["Event", "Topic", "Key", "Cause"], *said]


def _sent(asked: int) -> str:
    return f"{asked} will be sent as soon as a relay comes to it."


@admin.register(Shard)
class ShardAdmin(ReadOnly[Shard]):
    """Who relays each share of the keys, and how far it has come."""

    list_display = ("shard", "owner", "epoch", "expires_at", "position", "previous", "current")
    list_display_links = None
    ordering = ("shard",)


@admin.register(TopicRecord)
class TopicRecordAdmin(ReadOnly[TopicRecord]):
    """Topics as they were applied."""

    list_display = ("name", "partitions", "applied_at")
    list_display_links = None
    ordering = ("name",)
