"""What consumers look like over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from outbox import examples, pausing
from outbox.kafka import Placement
from outbox.lag import Lag, PartitionLag
from outbox.members import Instance
from outbox.positions import AlarmCause, LagAlarm
from outbox.repair.serializers import LONGEST_REASON, ReasonField, StrictInput


class PlacementOutput(serializers.Serializer[Any]):
    """One partition of a topic."""

    topic = serializers.CharField()
    partition = serializers.IntegerField()


class MemberOutput(serializers.Serializer[Instance]):
    """An instance that is there."""

    name = serializers.CharField(help_text="host:pid, as Kafka knows it too.")
    started_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField()
    silent = serializers.BooleanField(
        help_text=(
            "It has said nothing for three seconds or more: whether it still reads is not known. Kafka gives"
            " its partitions to others within seconds, unless it speaks again; after ten it is not listed."
        )
    )
    idle = serializers.BooleanField(
        help_text="It reads no partition, is not silent, and takes over when another instance ends."
    )
    partitions = serializers.SerializerMethodField()

    @extend_schema_field(PlacementOutput(many=True))
    def get_partitions(self, member: Instance) -> list[dict[str, Any]]:
        """What it reads; of two that named a partition, the one that spoke last does."""
        return [_placement(place) for place in member.partitions]


class PartitionOutput(serializers.Serializer[PartitionLag]):
    """A partition of one of its topics."""

    topic = serializers.CharField()
    partition = serializers.IntegerField()
    member = serializers.CharField(
        allow_null=True, help_text="Who reads it, as was said last; null while nobody does."
    )
    offset = serializers.IntegerField(
        source="reached", allow_null=True, help_text="Of the next record to be processed."
    )
    end = serializers.IntegerField(allow_null=True, help_text="The offset after the last record.")
    lag_events = serializers.IntegerField(
        source="events", allow_null=True, help_text="null while nobody has told where it ends."
    )
    lag_seconds = serializers.FloatField(
        source="seconds",
        allow_null=True,
        help_text=(
            "The age of the oldest event yet to be processed; 0 when there is none, null while it is not"
            " known."
        ),
    )
    delay_seconds = serializers.FloatField(
        source="delay", allow_null=True, help_text="From the last processed event to its effect."
    )


class AlarmOutput(serializers.Serializer[LagAlarm]):
    """Something that is wrong with it now."""

    cause = serializers.ChoiceField(
        choices=AlarmCause.values,
        help_text=(
            "late: later than sync_delay_limit. falling_behind: slower than what comes in, for a minute."
        ),
    )
    since = serializers.DateTimeField()
    unknown_since = serializers.DateTimeField(
        allow_null=True,
        help_text="Since when nobody knows whether it is still so; null while that is known.",
    )


@extend_schema_serializer(examples=[OpenApiExample("A reason", {"reason": "The rates are wrong since noon"})])
class PauseInput(StrictInput):
    """Why; a line for people, logged and shown."""

    reason = ReasonField(required=False, default="", max_length=LONGEST_REASON)


@extend_schema_serializer(
    examples=[
        OpenApiExample("A reason", {"reason": "The rates are right again"}),
        OpenApiExample("Of this pause alone", {"paused_at": examples.PAUSED["paused_at"]}),
    ]
)
class ResumeInput(PauseInput):
    """Why, and which pause is lifted."""

    paused_at = serializers.DateTimeField(
        required=False,
        help_text="Since when it is paused, as far as you know: 409 when that is another pause.",
    )


@extend_schema_serializer(examples=[OpenApiExample("Paused", examples.PAUSED)])
class ConsumerStateOutput(serializers.Serializer[Any]):
    """Whether a consumer is paused, since when, by whom, and why."""

    name = serializers.CharField()
    paused = serializers.BooleanField()
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True)


class PauseOutput(serializers.Serializer[pausing.Pause]):
    """Since when it is paused, by whom, and why."""

    at = serializers.DateTimeField()
    by = serializers.CharField()
    reason = serializers.CharField()


@extend_schema_serializer(examples=[OpenApiExample("Two instances, one of them idle", examples.CONSUMER)])
class ConsumerOutput(serializers.Serializer[Lag]):
    """A consumer: who reads, how far it is behind, how fast it is."""

    name = serializers.CharField(source="consumer.name")
    topics = serializers.ListField(child=serializers.CharField(), source="consumer.topics")
    sync_delay_limit = serializers.FloatField(help_text="How late an effect may be, in seconds, as declared.")
    lag_events = serializers.IntegerField(
        source="events",
        allow_null=True,
        help_text="Events that Kafka has for it; null while that is not known of a partition.",
    )
    lag_seconds = serializers.FloatField(
        source="seconds",
        allow_null=True,
        help_text=(
            "The age of the oldest event yet to be processed, sent to Kafka or not; 0 when none is, null"
            " while it is not known."
        ),
    )
    delay_seconds = serializers.FloatField(
        source="delay", allow_null=True, help_text="From the last processed event to its effect."
    )
    rate_in = serializers.FloatField(
        source="rates.into",
        allow_null=True,
        help_text="Events a second that came into its topics in the last minute; null while not known.",
    )
    rate_out = serializers.FloatField(
        source="rates.out", allow_null=True, help_text="Events a second that it moved past."
    )
    catch_up_seconds = serializers.FloatField(
        allow_null=True,
        help_text=(
            "Until nothing is left, at the present rates; 0 while it keeps up: no event is late, and"
            " rate_out clears lag_events within sync_delay_limit. null when that is never, or not known."
        ),
    )
    pause = serializers.SerializerMethodField(help_text="null while it is not paused.")
    alarms = serializers.SerializerMethodField()
    members = MemberOutput(many=True)
    partitions = PartitionOutput(many=True)

    @extend_schema_field(PauseOutput(allow_null=True))
    def get_pause(self, lag: Lag) -> dict[str, Any] | None:
        """Nobody processes its events meanwhile."""
        pause = pausing.pause_of(lag.consumer)
        return None if pause is None else dict(PauseOutput(pause).data)

    @extend_schema_field(AlarmOutput(many=True))
    def get_alarms(self, lag: Lag) -> list[dict[str, Any]]:
        """Since when each has been so, and is not known to be over."""
        return [dict(AlarmOutput(alarm).data) for alarm in lag.alarms]


def _placement(place: Placement) -> dict[str, Any]:
    topic, partition = place
    return {"topic": topic, "partition": partition}
