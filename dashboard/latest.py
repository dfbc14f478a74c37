"""The latest events, as the Flow shows them."""

from django.template.loader import render_to_string

from outbox.models import OutboxEvent
from outbox.registry import all_consumers
from outbox.selectors import Trace, traces

LATEST = 30


def latest_events(*, limit: int = LATEST) -> tuple[Trace, ...]:
    """The last events, the latest first: three queries. What is not shown of them is left where it is."""
    return tuple(traces(OutboxEvent.objects.defer("payload").order_by("-id")[:limit]))


def event_rows(events: tuple[Trace, ...]) -> str:
    """The body of the table of events."""
    return render_to_string(
        "dashboard/parts/events.html", {"events": events, "consumers": all_consumers(), "looks": True}
    )
