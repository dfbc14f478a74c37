"""Orders over REST."""

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import signed_in
from orders import errors, selectors
from orders.filters import OrderFilter
from orders.models import Order
from orders.serializers import OrderOutput


@extend_schema_view(get=extend_schema(summary="Orders, the latest first"))
class OrderList(generics.ListAPIView[Order]):
    """A merchant's orders; `?payment=` finds the one of a payment."""

    serializer_class = OrderOutput
    filterset_class = OrderFilter
    queryset = Order.objects.none()

    def get_queryset(self) -> QuerySet[Order]:
        """What the caller may see."""
        return selectors.orders_seen_by(merchant_id=signed_in(self.request).sees_merchant)


@extend_schema(summary="One order")
class OrderDetail(generics.GenericAPIView[Order]):
    """One order as its merchant, or staff, sees it."""

    serializer_class = OrderOutput
    filter_backends = []

    def get(self, request: Request, order_id: UUID) -> Response:
        """Another merchant's order is not found."""
        try:
            order = selectors.get_order(order_id=order_id, merchant_id=signed_in(request).sees_merchant)
        except errors.OrderNotFound as error:
            raise NotFound(str(error)) from error
        return Response(OrderOutput(order).data)
