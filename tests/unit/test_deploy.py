"""deploy/: rules and board are well formed, and name metrics, labels and values that exist."""

import re
from collections.abc import Iterable

import pytest
import yaml

from eventsite.observing import COMMAND_SECONDS, RESULTS
from outbox import exposition
from outbox.alerts.causes import Cause
from outbox.metrics import INSTRUMENTS, REPEATED, Count
from outbox.models import Outcome, ParkCause
from outbox.positions import AlarmCause
from outbox.recovery import Family
from outbox.system_metrics import BY_ITSELF, BY_OPERATOR, GAUGES, OF_CONSUMERS, OF_OUTBOX
from tests.monitoring import (
    DEPLOY,
    OWN_LABELS,
    OWN_METRICS,
    asked,
    can_match,
    compared,
    expressions,
    panels,
    rules,
)
from tests.unit.test_docs import PROJECT, anchor

LEGEND = re.compile(r"{{\s*([\w$.]+)\s*(?:\|[^}]*)?}}")


def declared() -> dict[str, set[str]]:
    """Every series that our processes tell, with its labels."""
    found = {name: set(labels) for name, (_, labels) in GAUGES.items()}
    for one in INSTRUMENTS:
        if isinstance(one, Count):
            found[f"{one.name}_total"] = set(one.labels)
        else:
            found[f"{one.name}_bucket"] = {*one.labels, "le"}
            found[f"{one.name}_sum"] = found[f"{one.name}_count"] = set(one.labels)
    # Those of prometheus_client, of every process on Linux.
    return found | {"process_resident_memory_bytes": set(), "process_cpu_seconds_total": set()}


def values() -> dict[tuple[str, str], Iterable[str]]:
    """What a label of a series may be, where that is known beforehand."""
    document = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = [job["job_name"] for job in document["scrape_configs"]]
    return {
        ("outbox_alarms", "cause"): Cause.values,
        ("outbox_consumer_alarm", "cause"): AlarmCause.values,
        ("outbox_consumer_parked_keys", "cause"): ParkCause.values,
        ("outbox_consumer_paused", "by"): (BY_ITSELF, BY_OPERATOR),
        ("outbox_gauges_unread", "part"): (*OF_OUTBOX, *OF_CONSUMERS),
        ("outbox_processed_events_total", "outcome"): (*Outcome.values, REPEATED),
        ("outbox_retries_total", "family"): [family.value for family in Family],
        **{(f"{COMMAND_SECONDS.name}_{ending}", "result"): RESULTS for ending in ("bucket", "sum", "count")},
        **{(name, "job"): jobs for name in declared().keys() | OWN_METRICS},
    }


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_expression_compares_labels_with_values_that_they_have(where: str, expression: str) -> None:
    known = values()
    for metric, label, matcher in compared(expression):
        assert (metric, label) in known, f"{where}: nobody knows what {label} of {metric} may be"
        assert can_match(matcher, known[metric, label]), f"{where}: {metric} never has {matcher}"


def test_a_value_that_does_not_exist_is_found_out() -> None:
    compares = 'rate(a{b="one"}[5m]) > on (c) max(a{b=~"two|t.*"}) or a{b!="three"} or a{b!~"one|four"}'
    fits = [can_match(matcher, ("one", "two")) for _, _, matcher in compared(compares)]
    assert fits == [True, True, False, False]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_expression_names_metrics_and_labels_that_exist(where: str, expression: str) -> None:
    known = declared() | {name: set() for name in OWN_METRICS}
    for metric, labels in asked(expression).items():
        assert metric in known, f"{where}: {metric}"
        assert labels <= known[metric] | OWN_LABELS, f"{where}: {metric} has no {labels - known[metric]}"


def test_what_is_asked_is_found_wherever_it_stands() -> None:
    found = asked(
        'histogram_quantile(0.5, sum by (a, le) (rate(x_bucket{b="1"}[5m]))) > on (a) (2 * -y) or z'
    )
    assert found == {"x_bucket": {"a", "b", "le"}, "y": {"a"}, "z": set()}
    with pytest.raises(ValueError, match="unclosed"):
        asked("sum by (a rate(x[5m])")


def test_every_alert_says_what_is_wrong_what_to_do_and_where_to_read_on() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in {"page", "ticket"}
        annotations = rule["annotations"]
        assert set(annotations) == {"summary", "action", "runbook"}, rule["alert"]
        path, _, fragment = annotations["runbook"].partition("#")
        headings = re.findall(r"^#+ (.*)$", (PROJECT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert fragment in map(anchor, headings), rule["alert"]
        labels = {label for found in asked(rule["expr"]).values() for label in found} | OWN_LABELS
        for used in LEGEND.findall(" ".join(annotations.values())):
            assert used == "$value" or used.removeprefix("$labels.") in labels, rule["alert"]


def test_the_board_has_places_ids_and_legends_that_fit() -> None:
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            labels = {
                label
                for one in asked(target["expr"].replace("$__rate_interval", "5m")).values()
                for label in one
            }
            assert set(LEGEND.findall(target["legendFormat"])) <= labels | OWN_LABELS, panel["title"]


def test_the_example_scrapes_jobs_that_the_rules_know() -> None:
    document = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert document["rule_files"] == ["rules.yml"]
    assert all(job["job_name"].startswith("eventsite") for job in document["scrape_configs"])


def test_every_metric_has_help_and_stands_in_the_manual() -> None:
    manual = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = manual.partition("## Monitoring\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)`(?: \(([\w, ]+)\))? \|", section, re.MULTILINE))
    expected = {name: labels for name, (_, labels) in GAUGES.items()}
    expected |= {
        f"{one.name}_total" if isinstance(one, Count) else one.name: one.labels for one in INSTRUMENTS
    }
    assert COMMAND_SECONDS in INSTRUMENTS
    assert rows == {name: ", ".join(labels) for name, labels in expected.items()}
    assert all(text for text, _ in GAUGES.values())
    assert all(one.text for one in INSTRUMENTS)
    assert exposition.PATH in section
