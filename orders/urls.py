from django.urls import path

from orders.api import OrderDetail, OrderList

urlpatterns = [
    path("api/orders/", OrderList.as_view(), name="order-list"),
    path("api/orders/<uuid:order_id>/", OrderDetail.as_view(), name="order-detail"),
]
