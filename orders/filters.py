"""By what orders can be looked for."""

import django_filters

from orders.models import Order, Status
from rest.filters import CreatedSpan


class OrderFilter(CreatedSpan):
    """Exact matches, and a span of time."""

    payment = django_filters.UUIDFilter(field_name="payment_id", label="The payment it was made for")
    status = django_filters.ChoiceFilter(choices=Status.choices)
    merchant = django_filters.UUIDFilter(
        field_name="merchant_id", label="Whose it is, for those who see several merchants'"
    )
    customer_id = django_filters.CharFilter(strip=False)

    class Meta(CreatedSpan.Meta):
        model = Order
        fields = ("payment", "status", "merchant", "customer_id", "created_after", "created_before")
