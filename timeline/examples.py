"""A timeline as the OpenAPI document shows it: a payment that was validated, its order and its points."""

from typing import Any

PAYMENT_ID = "019a2f6c-1f40-7cc1-9f6e-8d4b36b4a001"
ORDER_ID = "019a2f6c-2110-7d55-8a3c-0c6f4e5b7002"
MERCHANT_ID = "019a2f00-0000-7a10-b0aa-52d1c8a3e003"
ENTRY_ID = "019a2f6c-2118-7b42-93c1-6a1f0d2c8004"
REQUESTED_ID = "019a2f6c-1f41-7f10-a2d4-9a0be7c1d005"
VALIDATED_ID = "019a2f6c-2100-7aa2-b1c3-77f0a9d3e006"
CREATED_ID = "019a2f6c-2111-7c33-8b2f-41e6d5c9a007"
EARNED_ID = "019a2f6c-2119-7e44-9d1a-c35b8f7e2008"

_FACTS = {
    "payment_id": PAYMENT_ID,
    "merchant_id": MERCHANT_ID,
    "customer_id": "c-1",
    "amount_minor": 1250,
    "currency": "EUR",
    "lines": [],
}


def _processed(consumer: str, at: str, delay: float) -> dict[str, Any]:
    return {"consumer": consumer, "status": "processed", "delay_seconds": delay, "processed_at": at}


def _unhandled(consumer: str) -> dict[str, Any]:
    return {"consumer": consumer, "status": "unhandled", "delay_seconds": None, "processed_at": None}


def _entry(
    event_type: str,
    event_id: str,
    key: str,
    number: int,
    at: str,
    *,
    data: dict[str, Any],
    place: tuple[int, int, str],
    consumers: list[dict[str, Any]],
    causation_id: str | None = None,
    correlation_id: str = VALIDATED_ID,
) -> dict[str, Any]:
    service = event_type.partition(".")[0]
    partition, offset, published_at = place
    return {
        "at": at,
        "service": service,
        "id": event_id,
        "type": event_type,
        "source": f"/eventsite/{service}",
        "topic": service,
        "key": key,
        "number": number,
        "occurred_at": at,
        "correlation_id": correlation_id,
        "causation_id": causation_id,
        "data": data,
        "publications": [
            {"topic": service, "partition": partition, "offset": offset, "published_at": published_at}
        ],
        "consumers": consumers,
    }


VALIDATED_PAYMENT: dict[str, Any] = {
    "payment_id": PAYMENT_ID,
    "status": "validated",
    "order_id": ORDER_ID,
    "points": 12,
    "entries": [
        _entry(
            "payments.PaymentRequested.v1",
            REQUESTED_ID,
            PAYMENT_ID,
            1,
            "2026-11-24T12:00:00.000000Z",
            data=_FACTS,
            place=(2, 4710, "2026-11-24T12:00:00.004000Z"),
            consumers=[
                _processed("analytics", "2026-11-24T12:00:00.011000Z", 0.011),
                _unhandled("loyalty"),
                _unhandled("orders"),
            ],
            correlation_id=REQUESTED_ID,
        ),
        _entry(
            "payments.PaymentValidated.v1",
            VALIDATED_ID,
            PAYMENT_ID,
            2,
            "2026-11-24T12:00:00.448000Z",
            data=_FACTS,
            place=(2, 4711, "2026-11-24T12:00:00.452000Z"),
            consumers=[
                _processed("analytics", "2026-11-24T12:00:00.459000Z", 0.011),
                _processed("loyalty", "2026-11-24T12:00:00.473000Z", 0.025),
                _processed("orders", "2026-11-24T12:00:00.465000Z", 0.017),
            ],
        ),
        _entry(
            "orders.OrderCreated.v1",
            CREATED_ID,
            ORDER_ID,
            1,
            "2026-11-24T12:00:00.464000Z",
            data={
                "order_id": ORDER_ID,
                "payment_id": PAYMENT_ID,
                "merchant_id": MERCHANT_ID,
                "customer_id": "c-1",
                "total_minor": 1250,
                "currency": "EUR",
                "lines": [],
            },
            place=(0, 901, "2026-11-24T12:00:00.470000Z"),
            consumers=[_unhandled("payments")],
            causation_id=VALIDATED_ID,
        ),
        _entry(
            "loyalty.PointsEarned.v1",
            EARNED_ID,
            f"{MERCHANT_ID}:c-1",
            7,
            "2026-11-24T12:00:00.472000Z",
            data={
                "entry_id": ENTRY_ID,
                "merchant_id": MERCHANT_ID,
                "customer_id": "c-1",
                "payment_id": PAYMENT_ID,
                "points": 12,
            },
            place=(3, 1288, "2026-11-24T12:00:00.478000Z"),
            consumers=[],
            causation_id=VALIDATED_ID,
        ),
    ],
    "omitted": 0,
}
