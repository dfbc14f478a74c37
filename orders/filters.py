"""By what orders can be looked for."""

import django_filters

from orders.models import Order


class OrderFilter(django_filters.FilterSet):
    """Exact matches only."""

    payment = django_filters.UUIDFilter(field_name="payment_id", label="The payment it was made for")

    class Meta:
        model = Order
        fields = ("payment",)
