"""Every address of the dashboard and of REST, found by walking the URL table: no new one can be forgotten."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.urls import URLPattern, URLResolver, get_resolver

import dashboard.urls

# What anyone who has signed in may open; every other page is for those who run the system. The Flow leads
# merchants to their payments.
EVERYONES = {
    *("flow", "payments", "payment", "payment-now", "following", "payment-command"),
    *("volumes", "volumes-stream", "login", "logout"),
}
_PLACEHOLDER = re.compile(r"<(?:(\w+):)?(\w+)>")
_STRANGERS = {"uuid": str(UUID(int=1)), "int": "1"}


@dataclass(frozen=True)
class Route:
    """One address. Its placeholders are filled from what a test knows, or with what is not there."""

    name: str
    pattern: str

    @property
    def is_stream(self) -> bool:
        """Whether its answer goes on for ever."""
        return self.name.endswith("stream")

    @property
    def placeholders(self) -> set[str]:
        return {name for _, name in _PLACEHOLDER.findall(self.pattern)}

    def address(self, things: Mapping[str, str] | None = None) -> str:
        known = things or {}

        def fill(found: re.Match[str]) -> str:
            kind, name = found.groups()
            return known.get(name) or _STRANGERS.get(kind, "x")

        return "/" + _PLACEHOLDER.sub(fill, self.pattern)


def routes() -> list[Route]:
    """All of the dashboard, in the order of the table."""
    return list(_walk(dashboard.urls.urlpatterns, ""))


def rest_routes() -> list[Route]:
    """All of REST, in the order of the table."""
    every = _walk(get_resolver().url_patterns, "")
    return [route for route in every if route.pattern.startswith("api/")]


def _walk(entries: Sequence[object], prefix: str) -> Iterator[Route]:
    for entry in entries:
        if isinstance(entry, URLPattern):
            pattern = prefix + str(entry.pattern)
            yield Route(entry.name or pattern, pattern)
        elif isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, prefix + str(entry.pattern))
