"""What Prometheus would read of a page of metrics."""

import urllib.request
from collections.abc import Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(url: str) -> str:
    """A process's page."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def families(text: str) -> dict[str, Metric]:
    """By name; a page that is not well formed fails."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def figures(text: str) -> Figures:
    """Every sample, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def figure(found: Mapping[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    """One sample; 0 when it is not there."""
    return found.get((name, frozenset(labels.items())), 0.0)
