"""Lines as forms take them: three columns of fields, a row for each line."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from django import forms
from django.core.validators import RegexValidator
from django.http import QueryDict

from contracts.errors import MoneyError
from contracts.fields import LARGEST_QUANTITY, LONGEST_SKU, MOST_LINES, Line
from contracts.money import Money
from rest.text import NOTHING_SEEN, can_be_seen

# Without a script rows cannot be added: some are there from the start.
SPARE_ROWS = 2


def seen(text: str) -> None:
    """Raises ValidationError for a text of which nothing can be seen."""
    if not can_be_seen(text):
        raise forms.ValidationError(NOTHING_SEEN)


no_controls = RegexValidator(r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)", "Control characters are not accepted.")


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


def rows_given(data: QueryDict) -> list[Row]:
    """The rows that were sent, without the blank ones."""
    columns: Sequence[list[str]] = [data.getlist(name) for name in ("sku", "quantity", "unit_price")]
    rows = (Row(*(cell.strip() for cell in cells)) for cells in zip_longest(*columns, fillvalue=""))
    return [row for row in rows if not row.blank]


def with_spare(rows: list[Row]) -> list[Row]:
    """The rows with some to spare."""
    return [*rows, *[Row()] * min(SPARE_ROWS, max(MOST_LINES - len(rows), 0))]


def lines_in(rows: list[Row], currency: str) -> list[Line]:
    """What the rows say, each judged by itself. Raises ValidationError with all that is wrong."""
    if len(rows) > MOST_LINES:
        raise forms.ValidationError(f"There are at most {MOST_LINES} lines.")
    lines: list[Line] = []
    problems: list[str] = []
    for place, row in enumerate(rows, start=1):
        try:
            lines.append(_line(row, currency))
        except forms.ValidationError as error:
            problems.append(f"Line {place}: {error.messages[0]}")
    if problems:
        raise forms.ValidationError(problems)
    return lines


def _line(row: Row, currency: str) -> Line:
    if not row.sku or len(row.sku) > LONGEST_SKU:
        raise forms.ValidationError(f"An article is named by 1 to {LONGEST_SKU} characters.")
    no_controls(row.sku)
    digits = row.quantity.isascii() and row.quantity.isdigit() and len(row.quantity) < 10
    if not digits or not 1 <= int(row.quantity) <= LARGEST_QUANTITY:
        raise forms.ValidationError(f"The quantity is a whole number from 1 to {LARGEST_QUANTITY:,}.")
    try:
        price = Money.parse(row.unit_price, currency)
    except MoneyError as error:
        raise forms.ValidationError(f"The price of one: {error}") from error
    return Line(sku=row.sku, quantity=int(row.quantity), unit_price_minor=price.amount_minor)
