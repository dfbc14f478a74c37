"""Payments over REST."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.commands import written_down
from accounts.models import User
from accounts.permissions import MerchantsAndOperatorsWrite, signed_in
from accounts.selectors import merchants
from outbox import clock
from payments import selectors, services
from payments.errors import LinesDoNotAddUp, PaymentExpired, PaymentNotFound, TransitionForbidden
from payments.filters import PaymentFilter
from payments.models import Payment, Status
from payments.serializers import (
    PaymentInput,
    PaymentOutput,
    PaymentWithEvent,
    RefundInput,
    RejectionInput,
    ValidateInput,
)
from rest.idempotency import idempotent
from rest.pages import EitherWay
from rest.problems import MEDIA_TYPE, Conflict
from rest.schema import EXAMPLE_ID, refusal

_EXAMPLE_DEADLINE = datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC)
_NOT_FOUND = refusal(
    HTTPStatus.NOT_FOUND, "It does not exist, or is another merchant's.", ("not_found", PaymentNotFound())
)


def _forbidden(status: Status, *, needed: Status, wanted: Status) -> tuple[str, TransitionForbidden]:
    error = TransitionForbidden(EXAMPLE_ID, status=status, needed=needed, wanted=wanted)
    return error.code, error


@extend_schema_view(get=extend_schema(summary="Payments, the latest first"))
class PaymentList(generics.ListAPIView[Payment]):
    """A merchant's payments."""

    permission_classes = [MerchantsAndOperatorsWrite]
    serializer_class = PaymentOutput
    filterset_class = PaymentFilter
    pagination_class = EitherWay
    queryset = Payment.objects.none()

    def get_queryset(self) -> QuerySet[Payment]:
        """What the caller may see."""
        return selectors.payments_seen_by(merchant_id=signed_in(self.request).sees_merchant)

    @extend_schema(summary="Request a payment", request=PaymentInput, responses={201: PaymentWithEvent})
    @idempotent
    @written_down("request")
    def post(self, request: Request) -> Response:
        """Ask a customer for money. The payment is pending; `event_id` names its PaymentRequested.

        An operator names the merchant for whom it is.
        """
        given = PaymentInput(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        wanted["merchant_id"] = _merchant_to_pay(signed_in(request), wanted["merchant_id"])
        try:
            payment, event_id = services.request_payment(at=clock.now(), **wanted)
        except LinesDoNotAddUp as error:
            raise ValidationError({"lines": str(error)}, code="lines_do_not_add_up") from error
        return _answer(payment, event_id, status=HTTPStatus.CREATED)


@extend_schema(summary="One payment", responses={200: PaymentOutput, (404, MEDIA_TYPE): _NOT_FOUND})
class PaymentDetail(generics.GenericAPIView[Payment]):
    """One payment as its merchant, or staff, sees it."""

    serializer_class = PaymentOutput
    filter_backends = []

    def get(self, request: Request, payment_id: UUID) -> Response:
        """Another merchant's payment is not found."""
        with _refusals_as_problems():
            payment = selectors.get_payment(
                payment_id=payment_id, merchant_id=signed_in(request).sees_merchant
            )
        return Response(PaymentOutput(payment).data)


class PaymentCommand(generics.GenericAPIView[Payment]):
    """What all commands on one payment have in common."""

    permission_classes = [MerchantsAndOperatorsWrite]
    filter_backends = []


class PaymentValidation(PaymentCommand):
    """Declaring a payment good."""

    serializer_class = ValidateInput

    @extend_schema(
        summary="Validate a payment",
        request=ValidateInput,
        responses={
            200: PaymentWithEvent,
            (404, MEDIA_TYPE): _NOT_FOUND,
            (409, MEDIA_TYPE): refusal(
                HTTPStatus.CONFLICT,
                "It is not pending any more, or its time is over.",
                _forbidden(Status.REFUNDED, needed=Status.PENDING, wanted=Status.VALIDATED),
                (PaymentExpired.code, PaymentExpired(EXAMPLE_ID, expires_at=_EXAMPLE_DEADLINE)),
            ),
        },
    )
    @idempotent
    @written_down("validate")
    def post(self, request: Request, payment_id: UUID) -> Response:
        """Declare a pending payment good: its order and points follow from the event `event_id`.

        409 when the payment is not pending any more; the problem says what it is. 409 `payment_expired` from
        `expires_at` on, also in the seconds until the payment is shown as rejected.
        """
        ValidateInput(data=request.data).is_valid(raise_exception=True)
        with _refusals_as_problems():
            payment, event_id = services.validate_payment(
                payment_id=payment_id, merchant_id=signed_in(request).acts_for_merchant
            )
        return _answer(payment, event_id, status=HTTPStatus.OK)


class PaymentRejection(PaymentCommand):
    """Declaring that a payment will never be good."""

    serializer_class = RejectionInput

    @extend_schema(
        summary="Reject a payment",
        request=RejectionInput,
        responses={
            200: PaymentWithEvent,
            (404, MEDIA_TYPE): _NOT_FOUND,
            (409, MEDIA_TYPE): refusal(
                HTTPStatus.CONFLICT,
                "It is not pending any more.",
                _forbidden(Status.VALIDATED, needed=Status.PENDING, wanted=Status.REJECTED),
            ),
        },
    )
    @idempotent
    @written_down("reject")
    def post(self, request: Request, payment_id: UUID) -> Response:
        """Give a pending payment up, and say why. Nothing has followed from it; nothing is to be undone."""
        given = RejectionInput(data=request.data)
        given.is_valid(raise_exception=True)
        with _refusals_as_problems():
            payment, event_id = services.reject_payment(
                payment_id=payment_id,
                merchant_id=signed_in(request).acts_for_merchant,
                **given.validated_data,
            )
        return _answer(payment, event_id, status=HTTPStatus.OK)


class PaymentRefund(PaymentCommand):
    """Giving the money back."""

    serializer_class = RefundInput

    @extend_schema(
        summary="Refund a payment",
        request=RefundInput,
        responses={
            200: PaymentWithEvent,
            (404, MEDIA_TYPE): _NOT_FOUND,
            (409, MEDIA_TYPE): refusal(
                HTTPStatus.CONFLICT,
                "It is not validated yet, or refunded already.",
                _forbidden(Status.PENDING, needed=Status.VALIDATED, wanted=Status.REFUNDED),
            ),
        },
    )
    @idempotent
    @written_down("refund")
    def post(self, request: Request, payment_id: UUID) -> Response:
        """Give the whole amount back, and say why: its order is cancelled and its points are taken back.

        Both follow from the event `event_id`, a moment later.
        """
        given = RefundInput(data=request.data)
        given.is_valid(raise_exception=True)
        with _refusals_as_problems():
            payment, event_id = services.refund_payment(
                payment_id=payment_id,
                merchant_id=signed_in(request).acts_for_merchant,
                **given.validated_data,
            )
        return _answer(payment, event_id, status=HTTPStatus.OK)


@contextmanager
def _refusals_as_problems() -> Iterator[None]:
    """Answers what the service refuses: 404 for what is not there, 409 for what the state forbids."""
    try:
        yield
    except PaymentNotFound as error:
        raise NotFound(str(error)) from error
    except TransitionForbidden as error:
        raise Conflict(str(error), code=error.code) from error


def _merchant_to_pay(user: User, named: UUID | None) -> UUID:
    """For whom the user requests a payment. Raises ValidationError."""
    if named is None and user.is_merchant:
        return user.id
    if named is None:
        raise ValidationError({"merchant": "Name the merchant whose payment it is."}, code="required")
    if named == user.id and user.is_merchant:
        return named
    if not user.may_operate or not merchants().filter(id=named).exists():
        raise ValidationError(
            {"merchant": "There is no such merchant, or it is another one."}, code="no_such_merchant"
        )
    return named


def _answer(payment: Payment, event_id: UUID, *, status: int) -> Response:
    body: dict[str, Any] = {**PaymentOutput(payment).data, "event_id": event_id}
    return Response(body, status=status)
