"""What payments look like, for the OpenAPI document."""

from typing import Any

REQUEST: dict[str, Any] = {
    "customer_id": "c-1024",
    "amount": "12.50",
    "currency": "EUR",
    "lines": [{"sku": "COFFEE-500", "quantity": 2, "unit_price": "6.25"}],
    "metadata": {"basket": "b-77"},
}
PENDING: dict[str, Any] = {
    "id": "019a2f6c-1f40-7cc1-9f6e-8d4b36b4a001",
    "merchant_id": "019a2f00-0000-7a10-b0aa-52d1c8a3e003",
    **REQUEST,
    "status": "pending",
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": "2026-01-03T03:04:05Z",
    "validated_at": None,
    "rejected_at": None,
    "refunded_at": None,
    "cause": None,
    "reason": None,
}
VALIDATED = PENDING | {"status": "validated", "validated_at": "2026-01-02T03:05:00Z"}
REASON = {"reason": "The customer called it off."}
EVENT = {"event_id": "019a2f6c-2100-7aa2-b1c3-77f0a9d3e006"}
