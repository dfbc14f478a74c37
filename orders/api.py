"""Orders over REST."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from accounts.permissions import MerchantsAndOperatorsWrite, signed_in
from orders import selectors, services
from orders.errors import LinesDoNotAddUp, OrderNotFound, TransitionForbidden
from orders.filters import OrderFilter
from orders.models import Order, Status
from orders.serializers import CancellationInput, ChangedOrder, OrderChange, OrderOutput, OrderWithEvent
from rest.idempotency import idempotent
from rest.pages import EitherWay
from rest.problems import MEDIA_TYPE, Conflict
from rest.schema import EXAMPLE_ID, refusal

_NOT_FOUND = refusal(
    HTTPStatus.NOT_FOUND, "It does not exist, or is another merchant's.", ("not_found", OrderNotFound())
)


def _cancelled(*, wanted: Status) -> Any:
    error = TransitionForbidden(EXAMPLE_ID, status=Status.CANCELLED, wanted=wanted)
    return refusal(HTTPStatus.CONFLICT, "It is cancelled.", (error.code, error))


@extend_schema_view(get=extend_schema(summary="Orders, the latest first"))
class OrderList(generics.ListAPIView[Order]):
    """A merchant's orders; `?payment=` finds the one of a payment."""

    serializer_class = OrderOutput
    filterset_class = OrderFilter
    pagination_class = EitherWay
    queryset = Order.objects.none()

    def get_queryset(self) -> QuerySet[Order]:
        """What the caller may see."""
        return selectors.orders_seen_by(merchant_id=signed_in(self.request).sees_merchant)


class OrderDetail(generics.GenericAPIView[Order]):
    """One order as its merchant, or staff, sees it."""

    permission_classes = [MerchantsAndOperatorsWrite]
    serializer_class = OrderOutput
    filter_backends = []

    @extend_schema(summary="One order", responses={200: OrderOutput, (404, MEDIA_TYPE): _NOT_FOUND})
    def get(self, request: Request, order_id: UUID) -> Response:
        """Another merchant's order is not found."""
        with _refusals_as_problems():
            order = selectors.get_order(order_id=order_id, merchant_id=signed_in(request).sees_merchant)
        return Response(OrderOutput(order).data)

    @extend_schema(
        summary="Change an order",
        request=OrderChange,
        responses={
            200: ChangedOrder,
            (404, MEDIA_TYPE): _NOT_FOUND,
            (409, MEDIA_TYPE): _cancelled(wanted=Status.MODIFIED),
        },
    )
    @idempotent
    @written_down("modify")
    def patch(self, request: Request, order_id: UUID) -> Response:
        """Change the address, or the lines to others of the same total; 400 names both sums when it is not.

        When nothing is different from what was there, nothing is done, and `event_id` is null.
        """
        merchant_id = signed_in(request).acts_for_merchant
        with _refusals_as_problems():
            # The currency, in which prices are to be read, never changes.
            currency = selectors.get_order(order_id=order_id, merchant_id=merchant_id).currency
            given = OrderChange(data=request.data, context={"currency": currency})
            given.is_valid(raise_exception=True)
            order, event_id = services.modify_order(
                order_id=order_id, merchant_id=merchant_id, **given.validated_data
            )
        return _answer(order, event_id)


class OrderCancellation(generics.GenericAPIView[Order]):
    """Delivering nothing."""

    permission_classes = [MerchantsAndOperatorsWrite]
    serializer_class = CancellationInput
    filter_backends = []

    @extend_schema(
        summary="Cancel an order",
        request=CancellationInput,
        responses={
            200: OrderWithEvent,
            (404, MEDIA_TYPE): _NOT_FOUND,
            (409, MEDIA_TYPE): _cancelled(wanted=Status.CANCELLED),
        },
    )
    @idempotent
    @written_down("cancel")
    def post(self, request: Request, order_id: UUID) -> Response:
        """Give an order up, and say why: its payment is refunded, and the points of that are taken back.

        Both follow from the event `event_id`, a moment later.
        """
        given = CancellationInput(data=request.data)
        given.is_valid(raise_exception=True)
        with _refusals_as_problems():
            order, event_id = services.cancel_order(
                order_id=order_id,
                merchant_id=signed_in(request).acts_for_merchant,
                **given.validated_data,
            )
        return _answer(order, event_id)


@contextmanager
def _refusals_as_problems() -> Iterator[None]:
    """Answers what the service refuses: 404, 409 for what the state forbids, 400 for lines of another sum."""
    try:
        yield
    except OrderNotFound as error:
        raise NotFound(str(error)) from error
    except TransitionForbidden as error:
        raise Conflict(str(error), code=error.code) from error
    except LinesDoNotAddUp as error:
        raise ValidationError({"lines": str(error)}, code="lines_do_not_add_up") from error


def _answer(order: Order, event_id: UUID | None) -> Response:
    body: dict[str, Any] = {**OrderOutput(order).data, "event_id": event_id}
    return Response(body)
