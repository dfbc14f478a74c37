"""What lists of the admin have in common: read-only, in pages by place (outbox/keyset.py), and filters."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox import clock
from outbox.ids import lowest_id
from outbox.keyset import KeysetLists
from outbox.registry import all_consumers

M = TypeVar("M", bound=Model)


class ReadOnly(KeysetLists, Generic[M]):
    """Looked at, never edited."""

    actions: tuple[str, ...] | None = None

    @admin.display(description="key")
    def short_key(self, row: Any) -> SafeString:
        """The key, shortened in the middle; the whole one on hover."""
        return shortened(row.key) if row.key is not None else SafeString("none")

    def has_add_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Rows come from the engine alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Facts are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Facts are not deleted."""
        return False


class LatelyFilter(admin.SimpleListFilter):
    """How far back to look: a range of ids, which are times."""

    title = "written"
    parameter_name = "within"
    field = "id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Hours, and how they are spoken of."""
        return [("1", "in the last hour"), ("24", "in the last day"), ("168", "in the last week")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Rows not older than that."""
        hours = self.value()
        if hours not in {"1", "24", "168"}:
            return queryset
        return queryset.filter(**{f"{self.field}__gte": lowest_id(clock.now() - timedelta(hours=int(hours)))})


class LatelyByEventFilter(LatelyFilter):
    """The same where the id is a reference."""

    field = "event_id"


class ConsumerFilter(admin.SimpleListFilter):
    """One of the declared consumers."""

    title = "consumer"
    parameter_name = "consumer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        """From the registry: asking the table would read all of it."""
        return ((consumer.name, consumer.name) for consumer in all_consumers())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """That consumer's rows."""
        return queryset.filter(consumer=self.value()) if self.value() else queryset


def shortened(whole: object, *, most: int = 14) -> SafeString:
    """A text cut in the middle, where it is longer than that; the whole one on hover."""
    text = str(whole)
    cut = text if len(text) <= most else f"{text[:4]}…{text[-(most - 6) :]}"
    return format_html('<span class="outbox-short" title="{}">{}</span>', text, cut)


def line(text: str) -> SafeString:
    """The first line of a text, clipped where the column ends; more of it on hover."""
    first = text.partition("\n")[0][:200]
    return format_html('<span class="outbox-line" title="{}">{}</span>', first, first)


def line_of(field: str) -> Callable[[Any], SafeString | None]:
    """A column for a field whose texts may be long: a row of the list stays one line high."""

    @admin.display(description=field)
    def shown(row: Any) -> SafeString | None:
        return line(getattr(row, field)) if getattr(row, field) else None

    shown.__name__ = field
    return shown


def event_link(event_id: UUID, *, short: bool = False) -> SafeString:
    """To the event's page."""
    address = reverse("admin:outbox_outboxevent_change", args=[event_id])
    return format_html('<a href="{}">{}</a>', address, shortened(event_id) if short else event_id)


class EventRows(ReadOnly[M]):
    """Rows about events; the link leads to the event itself."""

    list_display_links: tuple[str, ...] | None = None

    @admin.display(description="event", ordering="event_id")
    def event(self, row: Any) -> SafeString:
        """The event's page."""
        return event_link(row.event_id, short=True)


class ListingRows(EventRows[M]):
    """Rows whose key is not unique: in a list, and on no page of their own."""

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> None:
        """No row."""
        return
