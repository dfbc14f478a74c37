"""What events look like over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from outbox import examples
from outbox.health import STATES
from outbox.models import Outcome
from outbox.selectors import PENDING, Trace, shown_data

RECEPTIONS = [PENDING, *Outcome.values]


class PublicationOutput(serializers.Serializer[Any]):
    """Where Kafka put the event."""

    topic = serializers.CharField()
    partition = serializers.IntegerField()
    offset = serializers.IntegerField()
    published_at = serializers.DateTimeField()


class ReceptionOutput(serializers.Serializer[Any]):
    """What a subscribed consumer made of the event."""

    consumer = serializers.CharField()
    status = serializers.ChoiceField(
        choices=RECEPTIONS,
        help_text=(
            "pending: not met yet. processed: its effect is committed. unhandled: a type this consumer does "
            "not handle, passed. parked: waits behind an earlier event of its key. dead: could not be "
            "processed. discarded: given up by an operator."
        ),
    )
    delay_seconds = serializers.FloatField(
        allow_null=True,
        help_text="From occurred_at to the commit of the effect; null unless processed, and after a rebuild.",
    )
    processed_at = serializers.DateTimeField(allow_null=True)


@extend_schema_serializer(examples=[OpenApiExample("One consumer is done, another is not", examples.EVENT)])
class EventOutput(serializers.Serializer[Trace]):
    """An event, where it went, and what each consumer made of it."""

    id = serializers.UUIDField(source="event.id")
    type = serializers.CharField(source="event.type")
    source = serializers.CharField(source="event.source")  # type: ignore[assignment]
    topic = serializers.CharField(source="event.topic")
    key = serializers.CharField(source="event.key", allow_null=True)
    number = serializers.IntegerField(
        source="event.number", allow_null=True, help_text="Its place within its key, from 1, without gaps."
    )
    occurred_at = serializers.DateTimeField(source="event.occurred_at")
    correlation_id = serializers.UUIDField(
        source="event.correlation_id", help_text="The same for all that followed from one beginning."
    )
    causation_id = serializers.UUIDField(
        source="event.causation_id", allow_null=True, help_text="The event that led to this one."
    )
    data = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="What the event says: parsed when it is JSON, otherwise text."
    )
    publications = serializers.SerializerMethodField(
        help_text="Empty until the relay has sent it; several when it was sent more than once."
    )
    consumers = ReceptionOutput(many=True)

    @extend_schema_field({})
    def get_data(self, trace: Trace) -> Any:
        """The data for reading."""
        return shown_data(trace.event)

    @extend_schema_field(PublicationOutput(many=True))
    def get_publications(self, trace: Trace) -> list[dict[str, Any]]:
        """Where it went, with the topic beside each place."""
        return [
            {
                "topic": trace.event.topic,
                "partition": publication.partition,
                "offset": publication.offset,
                "published_at": publication.published_at,
            }
            for publication in trace.publications
        ]


class PartOutput(serializers.Serializer[Any]):
    """One thing that the site stands on."""

    ok = serializers.BooleanField()
    detail = serializers.CharField()


@extend_schema_serializer(examples=[OpenApiExample("It answers", {"status": "ok"})])
class HealthOutput(serializers.Serializer[Any]):
    """The process answers."""

    status = serializers.CharField()


@extend_schema_serializer(examples=[OpenApiExample("Ready", examples.READY)])
class ReadinessOutput(serializers.Serializer[Any]):
    """Whether requests can be served, and what that rests on."""

    status = serializers.ChoiceField(choices=STATES)
    parts = serializers.DictField(child=PartOutput())
