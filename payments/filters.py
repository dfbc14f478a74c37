"""By what payments can be looked for."""

import django_filters

from contracts.money import CODES
from payments.models import Payment, Status
from rest.filters import CreatedSpan


class PaymentFilter(CreatedSpan):
    """Exact matches, and a span of time."""

    status = django_filters.ChoiceFilter(choices=Status.choices)
    currency = django_filters.ChoiceFilter(choices=[(code, code) for code in CODES])
    customer_id = django_filters.CharFilter(strip=False)

    class Meta(CreatedSpan.Meta):
        model = Payment
        fields = ("status", "currency", "customer_id", "created_after", "created_before")
