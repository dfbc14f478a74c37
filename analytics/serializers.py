"""What questions about volumes look like over REST, and their answers."""

from typing import Any
from zoneinfo import ZoneInfo

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics.errors import AnalyticsError, UnknownZone
from analytics.models import STATUSES
from analytics.slots import MOST_SLOTS, SLOTS, SLOTS_BY_DEFAULT, Span, span_of, zone_named
from contracts.money import CODES
from outbox import clock
from rest.serializers import StrictSerializer, TextField

UTC = zone_named("UTC")
MOMENT = "A date or time of ISO 8601; read in `tz` when it has no offset of its own."


@extend_schema_field({"type": "string", "maxLength": 64, "default": "UTC", "example": "Europe/Berlin"})
class ZoneField(TextField):
    """The name of a time zone."""

    def to_internal_value(self, data: Any) -> ZoneInfo:  # type: ignore[override]
        """The zone."""
        try:
            return zone_named(super().to_internal_value(data))
        except UnknownZone as error:
            raise serializers.ValidationError(str(error), code="unknown_zone") from None


class VolumesQuery(StrictSerializer):
    """Which volumes are asked for."""

    slot = serializers.ChoiceField(choices=SLOTS, default="1h", help_text="The length of a slot.")
    to = TextField(required=False, help_text=f"Slots that begin before this; now by default. {MOMENT}")
    currency = serializers.ChoiceField(choices=CODES, required=False)
    status = serializers.ChoiceField(choices=STATUSES, required=False)
    tz = ZoneField(
        required=False,
        help_text="A zone of the IANA database: where days and dates begin, and what is shown.",
    )
    merchant = serializers.UUIDField(
        required=False, help_text="For those who see all: one merchant's volumes."
    )

    def get_fields(self) -> dict[str, Any]:
        """`from` beside the others: as an attribute of a class it cannot be written."""
        start = TextField(
            required=False,
            help_text=f"Slots that begin at this or later; {SLOTS_BY_DEFAULT} slots before `to` by default."
            f" At most {MOST_SLOTS:,} hours or days, or a year of minutes. {MOMENT}",
        )
        return {**super().get_fields(), "from": start}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `volumes`, with a span."""
        return {
            "span": self._span(attrs),
            "merchant_id": attrs.get("merchant"),
            "currency": attrs.get("currency"),
            "status": attrs.get("status"),
        }

    def _span(self, attrs: dict[str, Any]) -> Span:
        try:
            return span_of(
                slot=attrs["slot"],
                start=attrs.get("from"),
                end=attrs.get("to"),
                zone=attrs.get("tz", UTC),
                now=clock.now(),
            )
        except AnalyticsError as error:
            raise serializers.ValidationError({error.field: str(error)}, code="range") from None


class VolumeOutput(serializers.Serializer[Any]):
    """How many payments came to a status in a slot, and their amounts together."""

    slot_start = serializers.DateTimeField(help_text="Where the slot begins, in the asked zone.")
    currency = serializers.CharField()
    status = serializers.ChoiceField(
        choices=STATUSES,
        help_text=(
            "pending: was requested. Each event counts in the slot in which it happened and stays there: a "
            "payment validated an hour after its request is pending in one slot and validated in another."
        ),
    )
    count = serializers.IntegerField()
    amount = serializers.CharField(help_text='Exact, like "12.50".')
