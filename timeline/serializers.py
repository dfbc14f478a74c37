"""What a timeline looks like over REST."""

from typing import Any

from rest_framework import serializers

from outbox.serializers import EventOutput
from payments.models import Status
from timeline.selectors import Timeline


class EntryOutput(EventOutput):
    """One event of the timeline: when, by which service, and all that is known of the event."""

    at = serializers.DateTimeField(source="event.occurred_at", help_text="When it happened.")
    service = serializers.CharField(help_text="Who published it, like `orders`.")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """The entry's own two first, then the event as everywhere."""
        shown: dict[str, Any] = super().to_representation(instance)
        return {"at": shown.pop("at"), "service": shown.pop("service"), **shown}


class TimelineOutput(serializers.Serializer[Timeline]):
    """A payment as it stands, and the events that brought it there, causes before what they caused."""

    payment_id = serializers.UUIDField(source="payment.id")
    status = serializers.ChoiceField(source="payment.status", choices=Status.choices)
    order_id = serializers.UUIDField(
        source="order.id", allow_null=True, default=None, help_text="Null while there is no order."
    )
    points = serializers.IntegerField(
        allow_null=True, help_text="Points earned less points reversed; null while none were entered."
    )
    entries = EntryOutput(many=True)
    omitted = serializers.IntegerField(
        help_text="Changes of the order left out between its first event and its latest 200; 0 but for orders"
        " changed more often."
    )
