"""The latest events of everyone who watches, from one set of queries."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from outbox.models import OutboxEvent
from outbox.selectors import Trace, traces

# Whose events: one merchant's, or everyone's for None.
Audience = UUID | None
LATEST = 30

# All that a table shows; the payload, which may be large, is left where it is.
_COLUMNS = "id, topic, key, number, type, occurred_at, correlation_id, causation_id"
_EVERYONE = f"(SELECT NULL AS audience, {_COLUMNS} FROM outbox_event ORDER BY id DESC LIMIT %s)"  # noqa: S608
_MERCHANTS = f"""
    (SELECT merchant AS audience, latest.* FROM unnest(%s::text[]) merchant, LATERAL (
        SELECT {_COLUMNS} FROM outbox_event WHERE owner = merchant ORDER BY id DESC LIMIT %s) latest)"""  # noqa: S608


def latest_events(
    audiences: Iterable[Audience], *, limit: int = LATEST
) -> Mapping[Audience, tuple[Trace, ...]]:
    """The last events of each audience, the latest first: three queries, however many watch."""
    wanted = set(audiences)
    merchants = [str(audience) for audience in wanted if audience is not None]
    parts: list[str] = []
    parameters: list[object] = []
    if None in wanted:
        parts.append(_EVERYONE)
        parameters.append(limit)
    if merchants:
        parts.append(_MERCHANTS)
        parameters += [merchants, limit]
    if not parts:
        return {}
    rows = list(OutboxEvent.objects.raw(" UNION ALL ".join(parts), parameters))
    known = {trace.event.id: trace for trace in traces({row.id: row for row in rows}.values())}
    found: dict[Audience, list[Trace]] = {audience: [] for audience in wanted}
    for row in sorted(rows, key=lambda row: row.id, reverse=True):
        audience = vars(row)["audience"]  # the query's own column, beside the model's
        found[audience and UUID(audience)].append(known[row.id])
    return {audience: tuple(events) for audience, events in found.items()}
