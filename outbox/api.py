"""Events and health over REST. Whoever signs in sees the events that OUTBOX["OWNER_OF"] says."""

import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework import generics
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from outbox import health, selectors
from outbox.config import config
from outbox.examples import METRICS
from outbox.exposition import CONTENT_TYPE, page
from outbox.filters import EventFilter
from outbox.models import OutboxEvent
from outbox.serializers import EventOutput, HealthOutput, ReadinessOutput
from outbox.stopping import call_when_server_stops
from outbox.threads import in_thread
from outbox.waiting import watcher

LONGEST_WAIT = 60
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


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


class EventDetail(generics.GenericAPIView[Any]):
    """One event with where it went and what each consumer made of it."""

    serializer_class = EventOutput
    filter_backends = []
    # Django asks this of the view: the method that it calls is a coroutine.
    view_is_async = True
    # What the first look at the event found: how long its caller would wait, and for whom.
    wait_seconds = 0.0
    unsettled: frozenset[str] = frozenset()

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Look at the event; if consumers are not done and the caller would wait, look again when they are.

        Each look is Django REST framework's whole synchronous way, in a thread that is held no longer.
        """
        look = partial(super().dispatch, request, *args, **kwargs)
        response = await in_thread(request, look)
        if self.wait_seconds and self.unsettled:
            call_when_server_stops(watcher.close)
            await watcher.wait(kwargs["event_id"], consumers=self.unsettled, seconds=self.wait_seconds)
            response = await in_thread(request, look)
        return response

    @extend_schema(
        summary="One event",
        parameters=[
            OpenApiParameter(
                "wait",
                {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0},
                description=(
                    "Seconds to hold the answer for, until no subscribed consumer is pending or parked any "
                    "more: what they made of the event can be read then."
                ),
            )
        ],
    )
    def get(self, request: Request, event_id: UUID) -> Response:
        """Another owner's event is not found."""
        self.wait_seconds = _seconds(request.query_params)
        trace = selectors.get_trace(event_id=event_id, owner=_owner(request))
        if trace is None:
            raise NotFound("There is no such event, or it is another merchant's.")
        self.unsettled = frozenset(
            reception.consumer for reception in trace.consumers if reception.status in selectors.UNSETTLED
        )
        return Response(EventOutput(trace).data)


def _seconds(parameters: QueryDict) -> float:
    unknown = [name for name in parameters if name not in {"wait", api_settings.URL_FORMAT_OVERRIDE}]
    if unknown:
        message = "Unknown parameter; there is wait."
        raise ValidationError(dict.fromkeys(unknown, message), code="unknown_parameter")
    if len(parameters.getlist("wait")) > 1:
        raise ValidationError({"wait": "Given more than once."}, code="repeated")
    text = parameters.get("wait", "0")
    seconds = float(text) if _NUMBER.fullmatch(text) else -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValidationError({"wait": f"A number of seconds from 0 to {LONGEST_WAIT}."}, code="invalid")
    return seconds


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
    # Whoever looks after the process is answered also while the database is away.
    throttle_classes = []


class Healthz(HealthView):
    """Liveness."""

    @extend_schema(summary="Whether the process answers", responses=HealthOutput, tags=["health"])
    def get(self, request: Request) -> Response:
        """It does, or nothing would be read here. Asks nobody else: a restart would not help them."""
        return Response({"status": "ok"})


class WhateverIsAccepted(BaseContentNegotiation):
    """Answers in the only form there is."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Nothing is read."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """Of errors: problems."""
        return renderers[0], renderers[0].media_type


class Metrics(HealthView):
    """For Prometheus."""

    content_negotiation_class = WhateverIsAccepted

    @extend_schema(
        summary="Metrics, in Prometheus's text format",
        responses={(200, "text/plain"): OpenApiResponse(str, examples=[OpenApiExample("A gauge", METRICS)])},
        tags=["health"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Of this process, and of the system as its database knows it, at most a second old."""
        return HttpResponse(page(system=True), content_type=CONTENT_TYPE)


class Readyz(HealthView):
    """Readiness."""

    @extend_schema(
        summary="Whether requests can be served",
        responses={200: ReadinessOutput, 503: ReadinessOutput},
        tags=["health"],
    )
    def get(self, request: Request) -> Response:
        """503 without database, migrations, partitions; degraded (200) without Kafka, relay, consumers."""
        parts = health.readiness()
        status = health.summary(parts)
        shown = {name: {"ok": part.ok, "detail": part.detail} for name, part in parts.items()}
        code = HTTPStatus.SERVICE_UNAVAILABLE if status == "unready" else HTTPStatus.OK
        return Response({"status": status, "parts": shown}, status=code)
