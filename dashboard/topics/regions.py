"""The parts of the topics' pages that stay up to date: read and rendered once for all who watch."""

from collections.abc import Collection, Mapping
from typing import Any

from django.template.loader import render_to_string

from dashboard.live import LivePage, Regions
from dashboard.topics.observer import observer
from dashboard.topics.selectors import Topics, topics
from dashboard.topics.standing import TopicStanding

# The name of the topic that is watched; all of them for none.
ALL = ""
_OF_EACH = ("state", "drift", "figures")
_OF_ONE = ("partitions", "settings")


def read(questions: Collection[str]) -> Mapping[str, Regions]:
    """What is watched, with Kafka's last answer: it is not waited for."""
    found = topics(observer.look())
    return {name: _regions(found, name) for name in questions}


def _regions(found: Topics, name: str) -> Regions:
    regions = {"kafka": _rendered("kafka", {"found": found})}
    if name == ALL:
        regions["undeclared"] = _rendered("undeclared", {"found": found})
    for standing in found.topics:
        own, context = standing.topic.name, context_of(standing)
        if name in {ALL, own}:
            regions |= {f"{part}-{own}": _rendered(part, context) for part in _OF_EACH}
        if name == ALL:
            regions[f"readers-{own}"] = _rendered("readers", context)
        if name == own:
            regions |= {part: _rendered(part, context) for part in _OF_ONE}
    return regions


def context_of(standing: TopicStanding) -> dict[str, Any]:
    """What the templates of one topic need."""
    return {"standing": standing, "topic": standing.topic}


def _rendered(part: str, context: dict[str, Any]) -> str:
    return render_to_string(f"dashboard/topics/{part}.html", context)


topics_page = LivePage[str]("topics", {"topics": read})
