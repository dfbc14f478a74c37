"""What the templates of the dead letters' pages need beside `dashboard`."""

import re
from collections.abc import Mapping
from urllib.parse import urlencode
from uuid import UUID

from django import template
from django.urls import reverse
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from dashboard.formats import UNKNOWN, Bounded
from dashboard.letters import selectors
from dashboard.letters.filters import Asked

_OF_ONE = re.compile(r"(?<= with one fingerprint, )[0-9a-f]{1,64}(?=:)")

register = template.Library()
register.filter("first_line", selectors.first_line)


@register.filter
def led_to_letters(text: str) -> SafeString:
    """Text in which the fingerprint of what made a consumer pause itself leads to its dead letters."""
    said = _OF_ONE.search(text)
    if said is None:
        return conditional_escape(text)
    address = f"{reverse('letters')}?{urlencode({'fingerprint': said[0]})}"
    link = '{}<a class="in-text" href="{}">{}</a>{}'
    return format_html(link, text[: said.start()], address, said[0], text[said.end() :])


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
