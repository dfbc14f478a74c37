"""Payments over REST."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import MerchantsAndOperatorsWrite, MerchantsWrite, signed_in
from outbox import clock
from payments import errors, selectors, services
from payments.filters import PaymentFilter
from payments.models import Payment
from payments.serializers import PaymentInput, PaymentOutput, PaymentWithEvent, ValidateInput
from rest.idempotency import idempotent
from rest.problems import MEDIA_TYPE, Conflict
from rest.serializers import ProblemSerializer


class PaymentList(generics.ListAPIView[Payment]):
    """A merchant's payments."""

    permission_classes = [MerchantsWrite]
    serializer_class = PaymentOutput
    filterset_class = PaymentFilter
    queryset = Payment.objects.none()

    def get_queryset(self) -> QuerySet[Payment]:
        """What the caller may see."""
        return selectors.payments_seen_by(merchant_id=signed_in(self.request).sees_merchant)

    @extend_schema(summary="Request a payment", request=PaymentInput, responses={201: PaymentWithEvent})
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask a customer for money. The payment is pending; `event_id` names its PaymentRequested."""
        given = PaymentInput(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            payment, event_id = services.request_payment(
                merchant_id=signed_in(request).id, at=clock.now(), **given.validated_data
            )
        except errors.LinesDoNotAddUp as error:
            raise ValidationError({"lines": str(error)}, code="lines_do_not_add_up") from error
        return _answer(payment, event_id, status=status.HTTP_201_CREATED)


@extend_schema(summary="One payment")
class PaymentDetail(generics.GenericAPIView[Payment]):
    """One payment as its merchant, or staff, sees it."""

    serializer_class = PaymentOutput
    filter_backends = []

    def get(self, request: Request, payment_id: UUID) -> Response:
        """Another merchant's payment is not found."""
        try:
            payment = selectors.get_payment(
                payment_id=payment_id, merchant_id=signed_in(request).sees_merchant
            )
        except errors.PaymentNotFound as error:
            raise NotFound(str(error)) from error
        return Response(PaymentOutput(payment).data)


class PaymentValidation(generics.GenericAPIView[Payment]):
    """Declaring a payment good."""

    permission_classes = [MerchantsAndOperatorsWrite]
    serializer_class = ValidateInput
    filter_backends = []

    @extend_schema(
        summary="Validate a payment",
        request=ValidateInput,
        responses={200: PaymentWithEvent, (409, MEDIA_TYPE): ProblemSerializer},
    )
    @idempotent
    def post(self, request: Request, payment_id: UUID) -> Response:
        """Declare a pending payment good: its order and points follow from the event `event_id`.

        409 when the payment is not pending any more; the problem says what it is.
        """
        ValidateInput(data=request.data).is_valid(raise_exception=True)
        try:
            payment, event_id = services.validate_payment(
                payment_id=payment_id, merchant_id=signed_in(request).acts_for_merchant, at=clock.now()
            )
        except errors.PaymentNotFound as error:
            raise NotFound(str(error)) from error
        except errors.TransitionForbidden as error:
            raise Conflict(str(error), code="transition_forbidden") from error
        return _answer(payment, event_id, status=status.HTTP_200_OK)


def _answer(payment: Payment, event_id: UUID, *, status: int) -> Response:
    body: dict[str, Any] = {**PaymentOutput(payment).data, "event_id": event_id}
    return Response(body, status=status)
