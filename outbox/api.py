"""Events and health over REST. Whoever signs in sees the events that OUTBOX["OWNER_OF"] says."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils.module_loading import import_string
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import NotFound
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from outbox import health, selectors
from outbox.config import config
from outbox.filters import EventFilter
from outbox.models import OutboxEvent
from outbox.serializers import EventOutput, HealthOutput, ReadinessOutput


def _owner(request: Request) -> str | None:
    owner_of: Callable[[Any], str | None] = import_string(config().owner_of)
    return owner_of(request.user)


@extend_schema_view(get=extend_schema(summary="Events, the latest first"))
class EventList(generics.ListAPIView[Any]):
    """Events with where they went and what each consumer made of them."""

    serializer_class = EventOutput
    filterset_class = EventFilter
    queryset = OutboxEvent.objects.none()

    def get_queryset(self) -> QuerySet[OutboxEvent]:
        """What the caller may see."""
        return selectors.events_seen_by(owner=_owner(self.request))

    def paginate_queryset(self, queryset: Any) -> Any:
        """A page of traces."""
        return selectors.traces(super().paginate_queryset(queryset) or [])


@extend_schema(summary="One event")
class EventDetail(generics.GenericAPIView[Any]):
    """One event with where it went and what each consumer made of it."""

    serializer_class = EventOutput
    filter_backends = []

    def get(self, request: Request, event_id: UUID) -> Response:
        """Another owner's event is not found."""
        trace = selectors.get_trace(event_id=event_id, owner=_owner(request))
        if trace is None:
            raise NotFound("There is no such event, or it is another merchant's.")
        return Response(EventOutput(trace).data)


class FromAllowedAddress(BasePermission):
    """The loopback and the addresses of the settings; nobody signs in."""

    message = "Health is shown to the machine itself and to configured addresses only."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """By the address of the connection."""
        return health.may_ask(request.META.get("REMOTE_ADDR"))


class HealthView(APIView):
    """For those who look after the process."""

    authentication_classes = []
    permission_classes = [FromAllowedAddress]


class Healthz(HealthView):
    """Liveness."""

    @extend_schema(summary="Whether the process answers", responses=HealthOutput, tags=["health"])
    def get(self, request: Request) -> Response:
        """It does, or nothing would be read here. Asks nobody else: a restart would not help them."""
        return Response({"status": "ok"})


class Readyz(HealthView):
    """Readiness."""

    @extend_schema(
        summary="Whether requests can be served",
        responses={200: ReadinessOutput, 503: ReadinessOutput},
        tags=["health"],
    )
    def get(self, request: Request) -> Response:
        """Database, migrations, outbox partitions, Kafka. 503 when unready; degraded (Kafka away) is 200."""
        parts = health.readiness()
        status = health.summary(parts)
        shown = {name: {"ok": part.ok, "detail": part.detail} for name, part in parts.items()}
        code = HTTPStatus.SERVICE_UNAVAILABLE if status == "unready" else HTTPStatus.OK
        return Response({"status": status, "parts": shown}, status=code)
