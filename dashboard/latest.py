"""The latest events of everyone who watches, from one set of queries."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.template.loader import render_to_string

from outbox.models import OutboxEvent
from outbox.registry import all_consumers
from outbox.selectors import Trace, traces

# Whose events: one merchant's, or everyone's for None.
Audience = UUID | None
LATEST = 30

# All that a table shows; the payload, which may be large, is left where it is.
_COLUMNS = "id, topic, key, number, type, occurred_at, correlation_id, causation_id"
_EVERYONE = f"(SELECT NULL AS audience, {_COLUMNS} FROM outbox_event ORDER BY id DESC LIMIT %s)"  # noqa: S608
# Each merchant by name, not joined to a list of them: only so does the planner know how rare one is.
_MERCHANT = f"""
    (SELECT owner AS audience, {_COLUMNS} FROM outbox_event WHERE owner = %s ORDER BY id DESC LIMIT %s)"""  # noqa: S608


def latest_events(
    audiences: Iterable[Audience], *, limit: int = LATEST
) -> Mapping[Audience, tuple[Trace, ...]]:
    """The last events of each audience, the latest first: three queries, however many watch."""
    found: dict[Audience, list[Trace]] = {audience: [] for audience in audiences}
    if not found:
        return {}
    query = " UNION ALL ".join(_EVERYONE if audience is None else _MERCHANT for audience in found)
    parameters: list[object] = []
    for audience in found:
        parameters += [limit] if audience is None else [str(audience), limit]
    rows = list(OutboxEvent.objects.raw(query, parameters))
    known = {trace.event.id: trace for trace in traces({row.id: row for row in rows}.values())}
    for row in sorted(rows, key=lambda row: row.id, reverse=True):
        whose = vars(row)["audience"]  # the query's own column, beside the model's
        found[whose and UUID(whose)].append(known[row.id])
    return {audience: tuple(events) for audience, events in found.items()}


def event_rows(events: tuple[Trace, ...]) -> str:
    """The body of the table of events."""
    return render_to_string("dashboard/parts/events.html", {"events": events, "consumers": all_consumers()})
