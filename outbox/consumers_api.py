"""Acting on consumers over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from outbox import pausing
from outbox.errors import UnknownConsumer
from outbox.operating import OperatorsAct, once
from outbox.registry import Consumer, get_consumer
from outbox.repair.serializers import LONGEST_REASON, ReasonField, StrictInput


@extend_schema_serializer(examples=[OpenApiExample("A reason", {"reason": "The rates are wrong since noon"})])
class PauseInput(StrictInput):
    """Why; a line for people, logged and shown."""

    reason = ReasonField(required=False, default="", max_length=LONGEST_REASON)


_EXAMPLE = {
    "name": "orders",
    "paused": True,
    "paused_at": "2026-01-02T03:04:05Z",
    "paused_by": "ana",
    "reason": "The rates are wrong since noon",
}


@extend_schema_serializer(examples=[OpenApiExample("Paused", _EXAMPLE)])
class ConsumerStateOutput(serializers.Serializer[Any]):
    """Whether a consumer is paused, since when, by whom, and why."""

    name = serializers.CharField()
    paused = serializers.BooleanField()
    paused_at = serializers.DateTimeField(allow_null=True)
    paused_by = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True)


class ConsumerCommand(APIView):
    """What commands on a consumer have in common."""

    permission_classes = [OperatorsAct]


class ConsumerPause(ConsumerCommand):
    """Stopping a consumer's work."""

    @extend_schema(summary="Pause a consumer", request=PauseInput, responses=ConsumerStateOutput)
    @once
    def post(self, request: Request, name: str) -> Response:
        """Its instances process nothing from about a second later on. One that is paused stays as it is."""
        consumer = _consumer(name)
        pausing.pause(consumer=consumer, by=request.user.get_username(), reason=_reason(request))
        return _state(consumer)


class ConsumerResume(ConsumerCommand):
    """Having a consumer go on."""

    @extend_schema(summary="Resume a consumer", request=PauseInput, responses=ConsumerStateOutput)
    @once
    def post(self, request: Request, name: str) -> Response:
        """Its instances go on where they were. One that is not paused goes on as it does."""
        consumer = _consumer(name)
        pausing.resume(consumer=consumer, by=request.user.get_username(), reason=_reason(request))
        return _state(consumer)


def _consumer(name: str) -> Consumer:
    try:
        return get_consumer(name)
    except UnknownConsumer as error:
        raise NotFound(str(error)) from error


def _reason(request: Request) -> str:
    given = PauseInput(data=request.data)
    given.is_valid(raise_exception=True)
    reason: str = given.validated_data["reason"]
    return reason


def _state(consumer: Consumer) -> Response:
    pause = pausing.pause_of(consumer)
    return Response(
        ConsumerStateOutput(
            {
                "name": consumer.name,
                "paused": pause is not None,
                "paused_at": pause and pause.at,
                "paused_by": pause.by if pause else "",
                "reason": pause.reason if pause else "",
            }
        ).data
    )
