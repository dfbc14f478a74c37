"""The form that makes a payment."""

from typing import Any
from uuid import UUID

from django import forms
from django.core.validators import RegexValidator

from accounts.models import User
from accounts.roles import MERCHANT
from contracts.errors import MoneyError
from contracts.fields import CUSTOMER_ID_PATTERN
from contracts.money import Money

MOST_MERCHANTS = 200


class PaymentForm(forms.Form):
    """A payment by a merchant for itself, or by staff for the merchant they pick."""

    merchant = forms.ChoiceField(required=False)
    customer_id = forms.CharField(
        label="Customer",
        max_length=100,
        validators=[
            RegexValidator(
                CUSTOMER_ID_PATTERN, "Letters, digits and . _ : - that begin with a letter or digit."
            )
        ],
        initial="customer-1",
    )
    amount = forms.CharField(max_length=40, initial="12.50")
    currency = forms.CharField(max_length=3, initial="EUR")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if not user.is_staff:
            del self.fields["merchant"]
            return
        merchants = User.objects.filter(groups__name=MERCHANT, is_active=True).order_by("username")
        field = self.fields["merchant"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.required = True
        field.choices = list(merchants.values_list("id", "username")[:MOST_MERCHANTS])

    @property
    def merchant_id(self) -> UUID:
        """For whom the payment is made."""
        return UUID(self.cleaned_data["merchant"]) if self.user.is_staff else self.user.id

    @property
    def money(self) -> Money:
        """The exact amount, once the form is valid."""
        money: Money = self.cleaned_data["money"]
        return money

    def clean_currency(self) -> str:
        """Codes are upper case, however they were typed."""
        code: str = self.cleaned_data["currency"]
        return code.upper()

    def clean(self) -> dict[str, Any]:
        """Amount and currency are judged together: each currency has its own decimals."""
        data: dict[str, Any] = super().clean() or {}
        if "amount" in data and "currency" in data:
            try:
                data["money"] = Money.parse(data["amount"], data["currency"])
            except MoneyError as error:
                self.add_error("amount", str(error))
        return data
