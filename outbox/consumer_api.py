"""Consumers over REST: how far each is behind and who reads what; pausing one and having it go on."""

from typing import Any

from django.utils.module_loading import import_string
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from outbox import lag, pausing
from outbox.config import config
from outbox.consumer_serializers import ConsumerOutput, ConsumerStateOutput, PauseInput, ResumeInput
from outbox.errors import NotAsShown, UnknownConsumer
from outbox.operating import OperatorsAct, once
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Via
from outbox.repair.api import StateForbids


class SeesEveryone(BasePermission):
    """Whoever sees everyone's events (OUTBOX["OWNER_OF"]): their number is no owner's business."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Signed in, and bound to no owner."""
        if not request.user.is_authenticated:
            return False
        return import_string(config().owner_of)(request.user) is None


class ConsumerView(APIView):
    """Reads what instances have told the database; Kafka is not asked."""

    permission_classes = [SeesEveryone]


class ConsumerList(ConsumerView):
    """All of them."""

    @extend_schema(
        summary="Consumers: members, partitions, lag and rates", responses=ConsumerOutput(many=True)
    )
    def get(self, request: Request) -> Response:
        """By name, without pages: they are declared in the project's code."""
        found: Any = lag.all_lags()
        return Response(ConsumerOutput(found, many=True).data)


class ConsumerDetail(ConsumerView):
    """One of them."""

    @extend_schema(summary="One consumer", responses=ConsumerOutput)
    def get(self, request: Request, name: str) -> Response:
        """404 for one that is not declared."""
        consumer = _consumer(name)
        [found] = lag.lags([consumer], using=consumer.using)
        return Response(ConsumerOutput(found).data)


class ConsumerCommand(APIView):
    """What commands on a consumer have in common."""

    permission_classes = [OperatorsAct]
    permissions = ("steer_consumer",)


class ConsumerPause(ConsumerCommand):
    """Stopping a consumer's work."""

    @extend_schema(summary="Pause a consumer", request=PauseInput, responses=ConsumerStateOutput)
    @once
    def post(self, request: Request, name: str) -> Response:
        """Its instances finish what they have in hand, and process nothing from about a second later on.

        One that is paused stays as it is.
        """
        consumer, given = _consumer(name), PauseInput(data=request.data)
        given.is_valid(raise_exception=True)
        pausing.pause(consumer=consumer, **_asked(request, given))
        return _state(consumer)


class ConsumerResume(ConsumerCommand):
    """Having a consumer go on."""

    @extend_schema(summary="Resume a consumer", request=ResumeInput, responses=ConsumerStateOutput)
    @once
    def post(self, request: Request, name: str) -> Response:
        """Its instances go on where they were. One that is not paused goes on as it does.

        409 when it is in another pause than the one of `paused_at`.
        """
        consumer, given = _consumer(name), ResumeInput(data=request.data)
        given.is_valid(raise_exception=True)
        paused_at = given.validated_data.get("paused_at")
        shown = None if paused_at is None else pausing.mark_at(paused_at)
        try:
            pausing.resume(consumer=consumer, **_asked(request, given), shown=shown)
        except NotAsShown as error:
            raise StateForbids(str(error)) from error
        return _state(consumer)


def _consumer(name: str) -> Consumer:
    try:
        return get_consumer(name)
    except UnknownConsumer as error:
        raise NotFound(str(error)) from error


def _asked(request: Request, given: PauseInput) -> dict[str, Any]:
    """Who asks, why, and through which door."""
    return {
        "by": request.user.get_username(),
        "reason": given.validated_data["reason"],
        "via": Via.REST,
    }


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
