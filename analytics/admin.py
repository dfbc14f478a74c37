"""Slots in the admin, read-only: everyone's volumes as they are shown, of one width at a time."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.readonly import ReadOnlyAdmin
from analytics.listings import SlotListing
from analytics.models import CONSUMER, EVERYONE
from analytics.slots import SLOTS
from contracts.money import minor_to_text
from outbox.generations import live_generation


class WidthFilter(admin.SimpleListFilter):
    """One width at a time: the index then has the rows in their order."""

    title = "width"
    parameter_name = "width"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The widths that can be asked for."""
        return [(name, name) for name in SLOTS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SlotListing]) -> QuerySet[SlotListing]:
        """The slots of the chosen width, of an hour when none is."""
        return queryset.filter(width=self.value() or "1h")


@admin.register(SlotListing)
class SlotAdmin(ReadOnlyAdmin):
    """Everyone's slots of the live generation, the latest first."""

    list_display = ("slot_start", "width", "currency", "status", "count", "amount")
    list_display_links = None
    list_filter = (WidthFilter,)
    ordering = ("-slot_start", "-currency", "-status")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SlotListing]:
        """Those that are shown."""
        slots: QuerySet[SlotListing] = super().get_queryset(request)
        return slots.filter(generation=live_generation(CONSUMER), merchant_id=EVERYONE)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> None:
        """No row has a page of its own: the key of the list is not unique."""
        return

    @admin.display(description="amount")
    def amount(self, slot: SlotListing) -> str:
        """With the decimals of its currency."""
        return minor_to_text(int(slot.amount_minor), slot.currency)
