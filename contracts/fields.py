"""The types that event fields share.

Money is an integer of the currency's minor unit (cents, yen, fils) in a field named `..._minor`, beside a
`currency` of ISO 4217: no reader needs decimals, and none can round.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.money import LARGEST_AMOUNT_MINOR

# Python's $ also matches before a last newline: (?!\n) makes the patterns mean the same everywhere.
CUSTOMER_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$(?!\n)"
LARGEST_QUANTITY = 1_000_000
LONGEST_SKU = 100
MOST_LINES = 100
# What a person writes about a refusal or where to deliver stays in the service's own rows, never in an event.
LONGEST_REASON = 500
LONGEST_ADDRESS = 500
# No control characters: they are never meant, and PostgreSQL cannot keep all of them.
SKU_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)"

AmountMinor = Annotated[int, Meta(gt=0, le=LARGEST_AMOUNT_MINOR)]
CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
# An opaque reference to the merchant's own customer: never a name or an address.
CustomerId = Annotated[str, Meta(pattern=CUSTOMER_ID_PATTERN)]
Quantity = Annotated[int, Meta(gt=0, le=LARGEST_QUANTITY)]
Sku = Annotated[str, Meta(min_length=1, max_length=LONGEST_SKU, pattern=SKU_PATTERN)]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what is sold; lines add up to the amount of the event that carries them."""

    sku: Sku
    quantity: Quantity
    unit_price_minor: AmountMinor
