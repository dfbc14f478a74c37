"""A payment's timeline over REST."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import generics
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import signed_in
from payments.errors import PaymentNotFound
from timeline.examples import VALIDATED_PAYMENT
from timeline.selectors import get_timeline
from timeline.serializers import TimelineOutput


class PaymentTimeline(generics.GenericAPIView[Any]):
    """What happened to a payment, across all services."""

    serializer_class = TimelineOutput
    filter_backends = []

    @extend_schema(
        summary="What happened to a payment, across all services",
        responses=OpenApiResponse(
            TimelineOutput,
            description="The payment with every event that tells of it.",
            examples=[OpenApiExample("A validated payment", VALIDATED_PAYMENT)],
        ),
        tags=["payments"],
    )
    def get(self, request: Request, payment_id: UUID) -> Response:
        """The payment as it stands, and its events, its order's and those of its points.

        Causes come before what they caused, with where each event went and what each consumer made of it.
        Another merchant's payment is not found.
        """
        try:
            timeline = get_timeline(payment_id=payment_id, merchant_id=signed_in(request).sees_merchant)
        except PaymentNotFound as error:
            raise NotFound(str(error)) from error
        return Response(TimelineOutput(timeline).data)
