"""What the templates of this app need to show times, spans, ids and states."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from contracts.money import minor_to_text
from dashboard import formats, receptions, statuses
from dashboard.hints import HINTS
from dashboard.navigation import Page, pages_for
from outbox.registry import Consumer
from outbox.selectors import Reception, Trace
from payments.models import Payment

register = template.Library()
register.filter("short_id", formats.short_id)
register.filter("span", formats.delay)
register.filter("limit", formats.limit)
register.filter("state_of", receptions.state_of)
register.filter("mark_of", receptions.mark_of)
register.filter("word_of", receptions.word_of)
register.filter("short_word_of", receptions.short_word_of)
register.filter("state_of_status", statuses.state_of_status)


@register.simple_tag
def hint(term: str) -> str:
    """Two plain sentences about a term."""
    return HINTS[term]


@register.simple_tag(takes_context=True)
def pages(context: Context) -> list[Page]:
    """The pages that the viewer may open."""
    return list(pages_for(context["request"]))


@register.simple_tag
def moment(at: datetime, *, form: str = "age") -> SafeString:
    """A <time>; the page's script turns it into an age or a clock time in the viewer's zone."""
    utc = at.astimezone(UTC)
    exact = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03} UTC"
    return format_html(
        '<time datetime="{}" data-form="{}" title="{}">{}</time>',
        utc.isoformat(timespec="milliseconds"),
        form,
        exact,
        exact if form == "exact" else f"{utc:%H:%M:%S}",
    )


@register.simple_tag
def between(start: datetime | None, end: datetime | None) -> str:
    """The time from one moment to another, in the unit that fits it."""
    return str(formats.delay(end - start if start and end else None))


@register.filter
def seconds(number: float) -> str:
    """A number of seconds in the unit that fits it."""
    return str(formats.delay(timedelta(seconds=number)))


@register.filter
def event_name(event_type: str) -> str:
    """payments.PaymentValidated.v1 is spoken of as PaymentValidated; a foreign type as it stands."""
    parts = event_type.split(".")
    return parts[1] if len(parts) == 3 else event_type


@register.filter
def slot_time(start: datetime, slot: str) -> str:
    """Where a slot begins by the clock it was asked for: its day, or its day and time."""
    return f"{start:%a %d %b %Y}" if slot == "1d" else f"{start:%d %b %H:%M}"


@register.filter
def amount(payment: Payment) -> str:
    """The amount without its currency, which has a column of its own."""
    return minor_to_text(payment.amount_minor, payment.currency)


@register.filter
def name_in(names: Mapping[UUID, str], key: UUID) -> str:
    """The name that a key has among these; the key itself, shortened, where it has none."""
    return names.get(key) or formats.short_id(key)


@register.filter
def cells(trace: Trace, consumers: Iterable[Consumer]) -> list[Reception | None]:
    """The event's receptions in the order of these consumers; None where one does not read its topic."""
    received = {reception.consumer: reception for reception in trace.consumers}
    return [received.get(consumer.name) for consumer in consumers]
