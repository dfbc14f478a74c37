"""What orders look like, for the OpenAPI document."""

from typing import Any

CREATED: dict[str, Any] = {
    "id": "019a2f6c-2110-7d55-8a3c-0c6f4e5b7002",
    "payment_id": "019a2f6c-1f40-7cc1-9f6e-8d4b36b4a001",
    "merchant_id": "019a2f00-0000-7a10-b0aa-52d1c8a3e003",
    "customer_id": "c-1024",
    "total": "12.50",
    "currency": "EUR",
    "status": "created",
    "lines": [{"sku": "COFFEE-500", "quantity": 2, "unit_price": "6.25"}],
    "shipping_address": None,
    "created_at": "2026-01-02T03:05:00Z",
    "modified_at": None,
    "cancelled_at": None,
    "cause": None,
    "reason": None,
}
CHANGE: dict[str, Any] = {
    "shipping_address": "1 Main Street\nSpringfield",
    "lines": [
        {"sku": "COFFEE-250", "quantity": 2, "unit_price": "3.25"},
        {"sku": "TEA-100", "quantity": 1, "unit_price": "6.00"},
    ],
}
MODIFIED = CREATED | CHANGE | {"status": "modified", "modified_at": "2026-01-02T04:00:00Z"}
REASON = {"reason": "Out of stock."}
CANCELLED = CREATED | {
    "status": "cancelled",
    "cancelled_at": "2026-01-02T04:00:00Z",
    "cause": "command",
    **REASON,
}
EVENT = {"event_id": "019a2f6c-2100-7aa2-b1c3-77f0a9d3e006"}
