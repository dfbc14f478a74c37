"""The pages of consumers: all of them, and one with its partitions, members and history."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_safe

from accounts.models import User
from dashboard.consumers.history import DEFAULT, WINDOWS
from dashboard.consumers.regions import Asked, context_of, known_of, list_page, notices, one_page
from dashboard.consumers.selectors import asides_if_known, standings
from dashboard.live import live_stream
from dashboard.operators import for_those_who_look, may_act
from dashboard.topics.observer import observer
from outbox.errors import UnknownConsumer
from outbox.registry import Consumer, get_consumer

# For so long a page waits to learn whether Kafka answers; all else is read from the tables.
PATIENCE = 0.5
# Each with its title, and the term that explains it.
CHARTS = (
    ("events", "Lag", "lag"),
    ("seconds", "Oldest waits", ""),
    ("rates", "In (dashed), out", ""),
    ("delay", "Sync delay", "sync-delay"),
)


@require_GET
@for_those_who_look
def consumers(request: HttpRequest) -> HttpResponse:
    """How far each is behind, and what stands out."""
    kafka = observer.look(patience=PATIENCE)
    found, known = standings(kafka=known_of(kafka)), asides_if_known()
    page = {
        "notices": notices(kafka),
        "standings": [(one, known.get(one.consumer.name)) for one in found],
        "may_act": may_act(request.user, "steer_consumer"),
    }
    return render(request, "dashboard/consumers/page.html", page)


@require_GET
@for_those_who_look
def consumer(request: HttpRequest, name: str) -> HttpResponse:
    """One of them. A window that is unknown is the shortest."""
    window = WINDOWS.get(request.GET.get("window", ""), DEFAULT)
    asked = declared(name)
    kafka = observer.look(patience=PATIENCE)
    [standing] = standings([asked], kafka=known_of(kafka))
    page = context_of(standing, Asked(may_act(request.user, "steer_consumer"), name, window.name))
    return render(
        request,
        "dashboard/consumers/consumer.html",
        {
            **page,
            "notices": notices(kafka),
            "aside": asides_if_known([standing.consumer]).get(name),
            "window": window,
            "windows": WINDOWS.values(),
            "charts": CHARTS,
        },
    )


@require_safe
async def consumers_stream(request: HttpRequest) -> HttpResponseBase:
    """The panels as they change."""
    return await live_stream(request, list_page, lambda user: Asked(may_act(user, "steer_consumer")))


@require_safe
async def consumer_stream(request: HttpRequest, name: str) -> HttpResponseBase:
    """One consumer's page as it changes."""
    window = request.GET.get("window", DEFAULT.name)

    def question(user: User) -> Asked | None:
        declared(name)
        return Asked(may_act(user, "steer_consumer"), name, window) if window in WINDOWS else None

    return await live_stream(request, one_page, question)


def declared(name: str) -> Consumer:
    """The consumer of this name. Raises Http404."""
    try:
        return get_consumer(name)
    except UnknownConsumer as error:
        raise Http404(str(error)) from error
