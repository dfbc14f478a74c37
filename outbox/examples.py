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
        "relay": {"ok": True, "detail": "all 8 shards have a relay; there are 2"},
        "consumers": {"ok": True, "detail": "each has an instance, and none is paused"},
        "kafka": {"ok": True, "detail": "answers"},
    },
}
METRICS = """\
# HELP outbox_backlog_events Events that no relay has sent yet, counted up to 10000.
# TYPE outbox_backlog_events gauge
outbox_backlog_events 3.0
"""

REPORT: dict[str, Any] = {
    "result": "replayed",
    "detail": "It has been processed; 2 that waited ran.",
    "ran": 2,
    "waiting": 0,
    "waiting_more": False,
    "error": "",
}
EXTENT: dict[str, Any] = {
    "letters": 12,
    "keys": 10,
    "waiting": 31,
    "more": False,
    "consequence": "Replays 12 events of 10 keys; 31 waiting events will then run, in order.",
}
JOB: dict[str, Any] = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8058",
    "act": "replay",
    "who": "operator",
    "why": "the rates are right again",
    "asked_at": "2026-11-25T12:00:00Z",
    "state": "running",
    "rate": 10.0,
    "total": 12,
    "more": False,
    "done": 5,
    "results": {"replayed": 4, "died": 1},
    "would_fail": [],
    "ran": 9,
    "trouble": "",
    "worked_at": "2026-11-25T12:00:01Z",
    "ended_at": None,
    "ended_by": "",
}
LETTER: dict[str, Any] = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8060",
    "consumer": "billing",
    "generation": 1,
    "event_id": EVENT["id"],
    "type": EVENT["type"],
    "topic": EVENT["topic"],
    "partition": 2,
    "offset": 41,
    "key": EVENT["key"],
    "number": 2,
    "occurred_at": EVENT["occurred_at"],
    "cause": "ContractViolation",
    "error": "shop.ParcelSent.v1: Object missing required field `carrier`.",
    "fingerprint": "5f0c9d1e2a3b4c6d",
    "attempts": 1,
    "died_at": "2026-01-02T03:04:06Z",
    "state": "open",
    "settled_at": None,
}
LETTER_DETAIL: dict[str, Any] = LETTER | {
    "traceback": "Traceback (most recent call last): …",
    "data": EVENT["data"],
    "correction": None,
    "headers": [{"name": "ce_type", "value": EVENT["type"]}],
    "waiting": 2,
    "waiting_more": False,
    "acts": [
        {
            "at": "2026-01-02T03:14:06Z",
            "who": "operator",
            "via": "rest",
            "act": "replay",
            "why": "",
            "result": "died",
            "error": "ContractViolation: shop.ParcelSent.v1: Object missing required field `carrier`.",
            "ran": 0,
            "waiting": 2,
            "job_id": None,
        }
    ],
}
PARKED_KEY: dict[str, Any] = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8061",
    "consumer": "billing",
    "generation": 1,
    "topic": EVENT["topic"],
    "key": EVENT["key"],
    "cause": "gap",
    "event_id": EVENT["id"],
    "parked_at": "2026-01-02T03:04:06Z",
    "missing": {"first": 2, "last": 3},
    "waiting": 3,
    "waiting_more": False,
}
CONSUMER: dict[str, Any] = {
    "name": "billing",
    "topics": ["parcels"],
    "sync_delay_limit": 5.0,
    "lag_events": 12,
    "lag_seconds": 0.4,
    "delay_seconds": 0.021,
    "rate_in": 48.2,
    "rate_out": 50.1,
    "catch_up_seconds": 0.0,
    "pause": None,
    "alarms": [],
    "members": [
        {
            "name": "host-1:4711",
            "started_at": "2026-01-02T03:00:00Z",
            "seen_at": "2026-01-02T03:05:00Z",
            "silent": False,
            "idle": False,
            "partitions": [{"topic": "parcels", "partition": 0}],
        },
        {
            "name": "host-1:4712",
            "started_at": "2026-01-02T03:00:01Z",
            "seen_at": "2026-01-02T03:05:00Z",
            "silent": False,
            "idle": True,
            "partitions": [],
        },
    ],
    "partitions": [
        {
            "topic": "parcels",
            "partition": 0,
            "member": "host-1:4711",
            "offset": 1200,
            "end": 1212,
            "lag_events": 12,
            "lag_seconds": 0.4,
            "delay_seconds": 0.021,
        }
    ],
}
PAUSED: dict[str, Any] = {
    "name": "billing",
    "paused": True,
    "paused_at": "2026-01-02T03:04:05Z",
    "paused_by": "ana",
    "reason": "The rates are wrong since noon",
}
