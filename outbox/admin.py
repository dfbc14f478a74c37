"""The outbox and the inbox in the admin, for looking."""

from typing import Any, TypeVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from outbox.envelope import headers_of
from outbox.item import decode_headers
from outbox.listings import InboxListing, ParkedKeyListing, PublicationListing
from outbox.models import (
    DeadLetter,
    OutboxEvent,
    Outcome,
    Refusal,
    Shard,
    TopicRecord,
    WaitingEvent,
)
from outbox.readonly import ConsumerFilter, LatelyByEventFilter, LatelyFilter, ReadOnly
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


def event_link(event_id: UUID) -> SafeString:
    """To the event's page."""
    address = reverse("admin:outbox_outboxevent_change", args=[event_id])
    return format_html('<a href="{}">{}</a>', address, event_id)


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


class EventRows(ReadOnly[M]):
    """Rows about events; the link leads to the event itself."""

    list_display_links = None

    @admin.display(description="event", ordering="event_id")
    def event(self, row: Any) -> SafeString:
        """The event's page."""
        return event_link(row.event_id)


class ListingRows(EventRows[M]):
    """Rows whose key is not unique: in a list, and on no page of their own."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> None:
        """No row."""
        return


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


@admin.register(ParkedKeyListing)
class ParkedKeyAdmin(ListingRows[ParkedKeyListing]):
    """Keys whose events wait."""

    list_display = ("key", "topic", "consumer", "generation", "cause", "event", "parked_at")
    list_filter = (ConsumerFilter,)
    found_by = ("key", "event_id")
    search_help_text = "A whole key or event id"
    ordering = ("-parked_at",)


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


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly[DeadLetter]):
    """What consumers could not process, and why."""

    list_display = ("id", "consumer", "generation", "type", "cause", "error_line", "key", "died_at")
    list_filter = (ConsumerFilter,)
    found_by = ("id", "event_id", "key", "fingerprint")
    search_help_text = "A whole id of the dead letter or its event, a key or a fingerprint"
    ordering = ("-died_at",)
    fieldsets = (
        (None, {"fields": (("consumer", "type"), ("cause", "attempts", "died_at"), "shown_error", "event")}),
        ("Data", {"fields": ("data",)}),
        ("Headers", {"fields": ("shown_headers",)}),
        ("Record", {"fields": (("topic", "partition", "offset"), ("key", "number", "occurred_at"))}),
        ("Traceback", {"fields": ("shown_traceback", "fingerprint")}),
    )
    readonly_fields = ("shown_error", "event", "data", "shown_headers", "shown_traceback")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Without what only one dead letter's page shows."""
        queryset: QuerySet[DeadLetter] = super().get_queryset(request)
        return queryset.defer("payload", "headers", "raw_key", "traceback")

    @admin.display(description="error")
    def error_line(self, letter: DeadLetter) -> str:
        """The beginning of what went wrong."""
        first = letter.error.partition("\n")[0]
        return first if len(first) <= 100 else f"{first[:99]}…"

    @admin.display(description="error")
    def shown_error(self, letter: DeadLetter) -> SafeString:
        """All of what went wrong."""
        return render_to_string("admin/outbox/text.html", {"text": letter.error})

    @admin.display(description="event")
    def event(self, letter: DeadLetter) -> SafeString:
        """The event's page; foreign records have none."""
        return event_link(letter.event_id)

    @admin.display(description="data")
    def data(self, letter: DeadLetter) -> SafeString:
        """The record's value, as text."""
        return render_to_string("admin/outbox/text.html", {"text": payload_text(letter.payload)})

    @admin.display(description="headers")
    def shown_headers(self, letter: DeadLetter) -> SafeString:
        """As they were read."""
        return render_to_string(
            "admin/outbox/pairs.html", {"pairs": headers_text(decode_headers(letter.headers))}
        )

    @admin.display(description="traceback")
    def shown_traceback(self, letter: DeadLetter) -> SafeString:
        """Where it went wrong."""
        return render_to_string("admin/outbox/text.html", {"text": letter.traceback})


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
