"""Topics as they are in Kafka, beside what was declared."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_safe

from dashboard.live import live_stream
from dashboard.operators import for_those_who_look
from dashboard.topics.observer import observer
from dashboard.topics.regions import ALL, context_of, topics_page
from dashboard.topics.selectors import topics
from outbox.config import config

# For so long a page waits for Kafka's first answer; without, it shows what the tables know.
PATIENCE = 2.0


@require_GET
@for_those_who_look
def all_topics(request: HttpRequest) -> HttpResponse:
    """Every declared topic, and quietly what else there is."""
    found = topics(observer.look(patience=PATIENCE))
    return render(request, "dashboard/topics/page.html", {"found": found})


@require_GET
@for_those_who_look
def topic(request: HttpRequest, name: str) -> HttpResponse:
    """One of them, by partition. 404 for one that is not declared."""
    _check(name)
    found = topics(observer.look(patience=PATIENCE))
    [standing] = [one for one in found.topics if one.topic.name == name]
    return render(request, "dashboard/topics/topic.html", {"found": found, **context_of(standing)})


@require_safe
async def topics_stream(request: HttpRequest) -> HttpResponseBase:
    """All of them as they change."""
    return await live_stream(request, topics_page, lambda _: ALL)


@require_safe
async def topic_stream(request: HttpRequest, name: str) -> HttpResponseBase:
    """One of them as it changes."""
    _check(name)
    return await live_stream(request, topics_page, lambda _: name)


def _check(name: str) -> None:
    if name not in {topic.name for topic in config().declared_topics()}:
        raise Http404("No topic of this name is declared.")
