"""What the templates of the dead letters' pages need beside `dashboard`."""

from collections.abc import Mapping
from urllib.parse import urlencode
from uuid import UUID

from django import template
from django.utils.safestring import SafeString, mark_safe

from dashboard.formats import UNKNOWN, Bounded
from dashboard.letters import selectors
from dashboard.letters.filters import Asked

register = template.Library()
register.filter("first_line", selectors.first_line)


@register.filter
def entry(regions: Mapping[str, str], name: str) -> SafeString:
    """A region that a template of ours has made."""
    return mark_safe(regions[name])  # noqa: S308


@register.filter
def waiting_of(waiting: Mapping[UUID, Bounded], letter_id: UUID) -> str:
    """How many events wait behind a letter; a dash where it holds no key."""
    return str(waiting.get(letter_id, UNKNOWN))


@register.simple_tag
def letters_address(asked: Asked, **more: str) -> str:
    """The filters with some set to other values, as an address says them."""
    return urlencode({**dict(asked.pairs), **more})
