"""The forms that make a payment, and that say why one is undone."""

import json
import re
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict

from accounts.models import User
from accounts.selectors import merchants
from contracts.errors import MoneyError
from contracts.fields import CUSTOMER_ID_PATTERN, LONGEST_REASON
from contracts.money import DECIMALS, Money, minor_to_text
from dashboard.order_lines import Row, lines_in, no_controls, rows_given, seen, with_spare

MOST_MERCHANTS = 200
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class MerchantName(forms.CharField):
    """A merchant by name, the field for as many as there may be; its value is the merchant's id."""

    widget = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})

    def clean(self, value: Any) -> str:
        """The id, as a choice has it. An id is taken as well: addresses hold it."""
        name: str = super().clean(value)
        if not name:
            return ""
        found = merchants().filter(username=name).first()
        if found is None and _UUID.fullmatch(name):
            found = merchants().filter(id=name).first()
        if found is None:
            raise forms.ValidationError("There is no merchant of this name.")
        return str(found.id)


def merchant_field(*, required: bool) -> forms.Field:
    """A choice of merchants by name, or a field for the name where they are too many to choose from."""
    names = list(merchants().values_list("id", "username")[: MOST_MERCHANTS + 1])
    if len(names) > MOST_MERCHANTS:
        return MerchantName(required=required, max_length=150)
    choices = [(str(pk), name) for pk, name in names]
    return forms.ChoiceField(required=required, choices=choices if required else [("", "any"), *choices])


class PaymentForm(forms.Form):
    """A payment by a merchant for itself, or by an operator for the merchant they pick."""

    merchant = forms.Field(required=False)
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
    amount = forms.CharField(required=False, max_length=40, initial="12.50")
    currency = forms.CharField(max_length=3, initial="EUR")
    key = forms.UUIDField(required=False)

    def __init__(self, data: QueryDict | None = None, *, user: User) -> None:
        super().__init__(data)
        self.user = user
        self.given = data or QueryDict()
        self.rows = rows_given(self.given)
        if not user.may_operate:
            del self.fields["merchant"]
            return
        self.fields["merchant"] = merchant_field(required=True)

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
        """Amount and currency are judged together: each currency has its own decimals.

        With lines the amount is what they come to, whatever stood in its field.
        """
        data: dict[str, Any] = super().clean() or {}
        data["lines"] = []
        if "amount" not in data or "currency" not in data:
            return data
        try:
            amount = data["amount"]
            if self.rows:
                Money.parse("1", data["currency"])
                data["lines"] = lines_in(self.rows, data["currency"])
                total = sum(line.quantity * line.unit_price_minor for line in data["lines"])
                amount = minor_to_text(total, data["currency"])
            data["money"] = Money.parse(amount, data["currency"])
        except MoneyError as error:
            self.add_error("amount", str(error))
        return data

    @property
    def new_key(self) -> str:
        """Tells the page's next payment from the same one sent twice."""
        return str(uuid4())

    @property
    def fingerprint(self) -> str:
        """What was asked for, whoever asks for it again: the key with all fields."""
        fields = sorted(
            (name, self.given.getlist(name)) for name in self.given if name != "csrfmiddlewaretoken"
        )
        return sha256(json.dumps(fields).encode()).hexdigest()

    @property
    def shown_rows(self) -> list[Row]:
        """The rows of lines with some to spare."""
        return with_spare(self.rows)

    @property
    def unusual_decimals(self) -> str:
        """Currencies without two decimals, for the running total."""
        return " ".join(f"{code}:{decimals}" for code, decimals in DECIMALS.items() if decimals != 2)


class ReasonForm(forms.Form):
    """Why something is undone, in words that stay in the service's own row."""

    reason = forms.CharField(max_length=LONGEST_REASON, validators=[no_controls, seen])
