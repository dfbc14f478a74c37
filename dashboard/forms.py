"""The forms that make a payment, and that say why one is undone."""

from typing import Any
from uuid import UUID

from django import forms
from django.core.validators import RegexValidator

from accounts.models import User
from accounts.roles import MERCHANT
from contracts.errors import MoneyError
from contracts.fields import CUSTOMER_ID_PATTERN, LONGEST_REASON
from contracts.money import Money

MOST_MERCHANTS = 200

no_controls = RegexValidator(r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)", "Control characters are not accepted.")


def merchant_choices() -> list[tuple[str, str]]:
    """Merchants by name, for a select."""
    merchants = User.objects.filter(groups__name=MERCHANT, is_active=True).order_by("username")
    return [(str(pk), name) for pk, name in merchants.values_list("id", "username")[:MOST_MERCHANTS]]


class PaymentForm(forms.Form):
    """A payment by a merchant for itself, or by an operator for the merchant they pick."""

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
        if not user.may_operate:
            del self.fields["merchant"]
            return
        field = self.fields["merchant"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.required = True
        field.choices = merchant_choices()

    @property
    def merchant_id(self) -> UUID:
        """For whom the payment is made."""
        return UUID(self.cleaned_data["merchant"]) if self.user.may_operate else self.user.id

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


class ReasonForm(forms.Form):
    """Why something is undone, in words that stay in the service's own row."""

    reason = forms.CharField(max_length=LONGEST_REASON, validators=[no_controls])
