from django.urls import path, register_converter

from loyalty.api import AccountDetail


class CustomerIdConverter:
    """A customer id as contracts know it; anything else is an address without a view."""

    regex = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}"

    def to_python(self, value: str) -> str:
        """The id."""
        return value

    def to_url(self, value: str) -> str:
        """The id."""
        return value


register_converter(CustomerIdConverter, "customer_id")

urlpatterns = [
    path("api/loyalty/accounts/<customer_id:customer_id>/", AccountDetail.as_view(), name="loyalty-account"),
]
