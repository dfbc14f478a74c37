"""The form that changes an order: its lines, to the same total, and where it goes."""

from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict

from contracts.fields import LONGEST_ADDRESS
from contracts.money import decimals_of, minor_to_text
from dashboard.order_lines import Row, lines_in, rows_given, seen, with_spare
from orders.models import Order


class AddressField(forms.CharField):
    """A text of several lines, with line feeds alone between them: browsers send carriage returns, too."""

    def to_python(self, value: Any) -> str:
        """The text with its line ends made one."""
        return (super().to_python(value) or "").replace("\r\n", "\n").replace("\r", "\n")


class OrderForm(forms.Form):
    """`lines` and `shipping_address` as `modify_order` takes them; None for what is left as it was."""

    shipping_address = AddressField(
        required=False,
        max_length=LONGEST_ADDRESS,
        validators=[
            RegexValidator(
                r"\A[^\x00-\x09\x0b-\x1f\x7f-\x9f]*\Z",
                "Of the control characters only line ends are accepted.",
            ),
            seen,
        ],
    )

    def __init__(self, data: QueryDict | None = None, *, order: Order) -> None:
        super().__init__(data, initial={"shipping_address": order.shipping_address})
        self.order = order
        self.as_of = data.get("as_of", "") if data is not None else version_of(order)
        self.rows = rows_given(data) if data is not None else _rows_of(order)

    @property
    def decimals(self) -> int:
        """Of the order's currency, for the running total."""
        return decimals_of(self.order.currency)

    @property
    def total(self) -> str:
        """What the lines must come to."""
        return minor_to_text(self.order.total_minor, self.order.currency)

    @property
    def shown_rows(self) -> list[Row]:
        """The rows with some to spare."""
        return with_spare(self.rows)

    def clean_shipping_address(self) -> str | None:
        """None to leave it; an address that is there can be changed, not taken away."""
        address: str = self.cleaned_data["shipping_address"]
        if not address and self.order.shipping_address:
            raise forms.ValidationError("An address can be changed, not taken away.")
        return address or None

    def clean(self) -> dict[str, Any]:
        """The lines, each judged by itself; their sum is judged by the service."""
        data = super().clean() or {}
        lines = lines_in(self.rows, self.order.currency)
        data["lines"] = lines if lines or self.order.lines.all() else None
        return data


def version_of(order: Order) -> str:
    """When the order became what it is: a form that was made from another must not replace it."""
    return (order.modified_at or order.created_at).isoformat()


def _rows_of(order: Order) -> list[Row]:
    return [
        Row(line.sku, str(line.quantity), minor_to_text(line.unit_price_minor, order.currency))
        for line in order.as_lines()
    ]
