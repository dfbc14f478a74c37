"""What the lists of the admin have in common: read-only, searched by whole values, quick at any size.

No list counts its table or skips through it: a list reaches back LISTED rows, and a search or the time
filter reaches the rest through an index.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet, UUIDField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from outbox import clock
from outbox.ids import lowest_id
from outbox.registry import all_consumers

LISTED = 2_000
M = TypeVar("M", bound=Model)


class LatestPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than LISTED rows."""

    @cached_property
    def count(self) -> int:
        """Rows that can be paged through."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[:LISTED].count()


class ReadOnly(ModelAdmin, Generic[M]):
    """Looked at, never edited. `found_by` names indexed fields: a search is for the whole value of one."""

    found_by: tuple[str, ...] = ()
    paginator = LatestPaginator
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    sortable_by: tuple[str, ...] = ()
    actions: tuple[str, ...] | None = None
    list_fullwidth = True

    def has_add_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Rows come from the engine alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Facts are not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Facts are not deleted."""
        return False

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """What shows the search box."""
        return self.found_by

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        """Rows with exactly this value in one of the fields."""
        wanted = search_term.strip()
        if not wanted:
            return queryset, False
        match = Q()
        for name in self.found_by:
            if not isinstance(self.model._meta.get_field(name), UUIDField):
                match |= Q(**{name: wanted})
            elif (as_id := _uuid(wanted)) is not None:
                match |= Q(**{name: as_id})
        return (queryset.filter(match) if match else queryset.none()), False


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


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


def event_link(event_id: UUID) -> SafeString:
    """To the event's page."""
    address = reverse("admin:outbox_outboxevent_change", args=[event_id])
    return format_html('<a href="{}">{}</a>', address, event_id)


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
