"""What an event looks like, for the OpenAPI document."""

from typing import Any

EVENT: dict[str, Any] = {
    "id": "019a2f6c-2100-7aa2-b1c3-77f0a9d3e006",
    "type": "shop.ParcelSent.v1",
    "source": "/shop",
    "topic": "parcels",
    "key": "parcel-17",
    "number": 2,
    "occurred_at": "2026-01-02T03:05:00Z",
    "correlation_id": "019a2f6c-1f41-7f10-a2d4-9a0be7c1d005",
    "causation_id": None,
    "data": {"parcel_id": "parcel-17"},
    "publications": [
        {"topic": "parcels", "partition": 2, "offset": 4711, "published_at": "2026-01-02T03:05:00.004Z"}
    ],
    "consumers": [
        {
            "consumer": "billing",
            "status": "processed",
            "delay_seconds": 0.021,
            "processed_at": "2026-01-02T03:05:00.021Z",
        },
        {"consumer": "tracking", "status": "pending", "delay_seconds": None, "processed_at": None},
    ],
}
READY: dict[str, Any] = {
    "status": "ready",
    "parts": {
        "database": {"ok": True, "detail": "answers"},
        "migrations": {"ok": True, "detail": "applied"},
        "partitions": {"ok": True, "detail": "20 days ahead"},
        "kafka": {"ok": True, "detail": "answers"},
    },
}
