"""Consumers over REST: how far each is behind, and who reads what. For those who see everyone's events."""

from typing import Any

from django.utils.module_loading import import_string
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from outbox import lag
from outbox.config import config
from outbox.consumer_serializers import ConsumerOutput
from outbox.errors import UnknownConsumer
from outbox.registry import get_consumer


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
        try:
            consumer = get_consumer(name)
        except UnknownConsumer as error:
            raise NotFound(str(error)) from error
        [found] = lag.lags([consumer], using=consumer.using)
        return Response(ConsumerOutput(found).data)
