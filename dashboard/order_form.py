"""The form that changes an order: its lines, to the same total, and where it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict

from contracts.errors import MoneyError
from contracts.fields import LARGEST_QUANTITY, LONGEST_ADDRESS, LONGEST_SKU, MOST_LINES, Line
from contracts.money import Money, decimals_of, minor_to_text
from dashboard.forms import no_controls
from orders.models import Order

# Without a script rows cannot be added: some are there from the start.
SPARE_ROWS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """A line as it stands in the form, right or wrong."""

    sku: str = ""
    quantity: str = ""
    unit_price: str = ""

    @property
    def blank(self) -> bool:
        """Whether it is left out."""
        return not (self.sku or self.quantity or self.unit_price)


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
            )
        ],
    )

    def __init__(self, data: QueryDict | None = None, *, order: Order) -> None:
        super().__init__(data, initial={"shipping_address": order.shipping_address})
        self.order = order
        self.as_of = data.get("as_of", "") if data is not None else version_of(order)
        self.rows = _rows_given(data) if data is not None else _rows_of(order)

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
        return [*self.rows, *[Row()] * min(SPARE_ROWS, max(MOST_LINES - len(self.rows), 0))]

    def clean_shipping_address(self) -> str | None:
        """None to leave it; an address that is there can be changed, not taken away."""
        address: str = self.cleaned_data["shipping_address"]
        if not address and self.order.shipping_address:
            raise forms.ValidationError("An address can be changed, not taken away.")
        return address or None

    def clean(self) -> dict[str, Any]:
        """The lines, each judged by itself; their sum is judged by the service."""
        data = super().clean() or {}
        if len(self.rows) > MOST_LINES:
            raise forms.ValidationError(f"An order has at most {MOST_LINES} lines.")
        lines = []
        for place, row in enumerate(self.rows, start=1):
            try:
                lines.append(self._line(row))
            except (ValueError, forms.ValidationError) as error:
                said = error.messages[0] if isinstance(error, forms.ValidationError) else str(error)
                self.add_error(None, f"Line {place}: {said}")
        data["lines"] = lines if lines or self.order.lines.all() else None
        return data

    def _line(self, row: Row) -> Line:
        if not row.sku or len(row.sku) > LONGEST_SKU:
            raise forms.ValidationError(f"An article is named by 1 to {LONGEST_SKU} characters.")
        no_controls(row.sku)
        digits = row.quantity.isascii() and row.quantity.isdigit() and len(row.quantity) < 10
        if not digits or not 1 <= int(row.quantity) <= LARGEST_QUANTITY:
            raise forms.ValidationError(f"The quantity is a whole number from 1 to {LARGEST_QUANTITY:,}.")
        try:
            price = Money.parse(row.unit_price, self.order.currency)
        except MoneyError as error:
            raise forms.ValidationError(f"The price of one: {error}") from error
        return Line(sku=row.sku, quantity=int(row.quantity), unit_price_minor=price.amount_minor)


def version_of(order: Order) -> str:
    """When the order became what it is: a form that was made from another must not replace it."""
    return (order.modified_at or order.created_at).isoformat()


def _rows_of(order: Order) -> list[Row]:
    return [
        Row(line.sku, str(line.quantity), minor_to_text(line.unit_price_minor, order.currency))
        for line in order.as_lines()
    ]


def _rows_given(data: QueryDict) -> list[Row]:
    columns: Sequence[list[str]] = [data.getlist(name) for name in ("sku", "quantity", "unit_price")]
    rows = (Row(*(cell.strip() for cell in cells)) for cells in zip_longest(*columns, fillvalue=""))
    return [row for row in rows if not row.blank]
