"""The outbox and the inbox in the admin, for looking. What operators act on is in outbox/repair/admin.py."""

from typing import TypeVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.decorators import display

from outbox.envelope import headers_of
from outbox.listings import InboxListing, PublicationListing
from outbox.models import (
    OutboxEvent,
    Outcome,
    Refusal,
    Shard,
    TopicRecord,
    WaitingEvent,
)
from outbox.readonly import (
    ConsumerFilter,
    EventRows,
    LatelyByEventFilter,
    LatelyFilter,
    ListingRows,
    ReadOnly,
    event_link,
)
from outbox.repair import admin as repair_admin  # noqa: F401  (what operators act on, registered there)
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

    list_display = ("id", "type", "topic", "key", "number", "occurred_at")
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
    ordering = ("-event_id",)


@admin.register(InboxListing)
class InboxAdmin(ListingRows[InboxListing]):
    """What consumers have moved past."""

    list_display = (
        "event",
        "consumer",
        "generation",
        "type",
        "shown_outcome",
        "key",
        "partition",
        "offset",
        "processed_at",
    )
    list_filter = (LatelyByEventFilter,)
    found_by = ("event_id",)
    search_help_text = "A whole event id"
    ordering = ("-processed_at",)

    @display(description="outcome", label=_OUTCOMES)
    def shown_outcome(self, row: InboxListing) -> str:
        """What became of the event there."""
        return row.outcome


@admin.register(WaitingEvent)
class WaitingEventAdmin(EventRows[WaitingEvent]):
    """Events behind a parked key, in the order in which they will run."""

    list_display = ("event", "type", "key", "topic", "consumer", "generation", "number", "received_at")
    list_filter = (ConsumerFilter,)
    found_by = ("key", "event_id")
    search_help_text = "A whole key or event id"
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WaitingEvent]:
        """Without the records themselves."""
        queryset: QuerySet[WaitingEvent] = (
            super().get_queryset(request).defer("payload", "headers", "raw_key")
        )
        return queryset


@admin.register(Refusal)
class RefusalAdmin(EventRows[Refusal]):
    """Events that Kafka refused, and those held behind them."""

    list_display = ("event", "topic", "key", "cause", "refused_at")
    found_by = ("event_id", "key")
    search_help_text = "A whole event id or key"
    ordering = ("-refused_at",)


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
