"""By what payments can be looked for."""

import django_filters

from contracts.money import CODES
from payments.models import Payment, Status
from rest.filters import CreatedSpan


class PaymentFilter(CreatedSpan):
    """Exact matches, and a span of time."""

    status = django_filters.ChoiceFilter(choices=Status.choices)
    currency = django_filters.ChoiceFilter(choices=[(code, code) for code in CODES])
    merchant = django_filters.UUIDFilter(
        field_name="merchant_id", label="Whose it is, for those who see several merchants'"
    )
    customer_id = django_filters.CharFilter(strip=False)

    class Meta(CreatedSpan.Meta):
        model = Payment
        fields = ("status", "currency", "merchant", "customer_id", "created_after", "created_before")
