from django.urls import path

from orders.api import OrderCancellation, OrderDetail, OrderList

urlpatterns = [
    path("api/orders/", OrderList.as_view(), name="order-list"),
    path("api/orders/<uuid:order_id>/", OrderDetail.as_view(), name="order-detail"),
    path("api/orders/<uuid:order_id>/cancel/", OrderCancellation.as_view(), name="order-cancel"),
]
