"""The pages that are offered on every page, to those who may open them."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from dashboard.alerts.count import alarm_badge
from dashboard.chaos.channel import in_demo
from dashboard.operators import may_look


@dataclass(frozen=True, slots=True)
class Page:
    """One page on offer; `current` when it, or a page that belongs to it, is shown.

    badge  how much asks for attention there, which streams keep up to date; None where nothing is counted
    """

    title: str
    address: str
    current: bool
    badge: str | None = None


_FLOW = (("Flow", "flow"),)
_EVERYONES = (("Payments", "payments"), ("Volumes", "volumes"))
_OPERATORS = (
    ("Events", "events"),
    ("Consumers", "consumers"),
    ("Dead letters", "letters"),
    ("Topics", "topics"),
    ("Alerts", "alerts"),
)


def pages_for(request: HttpRequest) -> Iterator[Page]:
    """Those that this request's user may open, in their order; none for nobody."""
    user = request.user
    if not user.is_authenticated:
        return
    for title, name in (_FLOW + _EVERYONES + _OPERATORS) if may_look(user) else _EVERYONES:
        address = reverse(name)
        within = request.path.startswith(address) and name != "flow"
        badge = alarm_badge() if name == "alerts" else None
        yield Page(title, address, within or request.path == address, badge)
    if in_demo() and may_look(user):
        address = reverse("chaos")
        yield Page("Chaos", address, current=request.path == address)
    yield Page("API", reverse("api-docs"), current=False)
    if user.is_staff:
        yield Page("Admin", reverse("admin:index"), current=False)
