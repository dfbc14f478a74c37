"""The alert rules, evaluated by Prometheus' own promtool: each is silent, fires when it should, and ends."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring import DEPLOY, rules

# Seconds between two samples; those during which all is well, at first and in the end, are longer than any
# window that a rule looks back over.
STEP = 15
WELL = 1_200

Told = float | None


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule must say of series that are well, then are not, then are well again.

    gauges   what each series tells while all is well, and while it is not; None where it tells nothing
    rates    of each counter: by how much a second it grows while all is well, and while it is not
    labels   of the alert, besides its name and severity
    summary  what it says; none where what goes wrong is no matter of this rule, which then stays silent
    """

    alert: str
    gauges: Mapping[str, tuple[Told, Told]] = field(default_factory=dict)
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""


WEB, RELAY = 'job="eventsite-web", instance="a:8000"', 'job="eventsite-relay", instance="a:9101"'
ORDERS = 'consumer="orders", ' + WEB
ON_ORDERS = {"consumer": "orders"}


def of_orders(alert: str, series: str, *, well: Told, wrong: Told, more: str = "", says: str = "") -> Case:
    """A gauge of a consumer, which the web process and the relay tell alike; another consumer is well."""
    name = f'consumer="%s", {more + ", " if more else ""}%s'
    return Case(
        alert,
        {
            f"{series}{{{name % ('orders', WEB)}}}": (well, wrong),
            f"{series}{{{name % ('orders', RELAY)}}}": (well, wrong),
            f"{series}{{{name % ('loyalty', WEB)}}}": (well, well),
        },
        labels=ON_ORDERS,
        summary=says,
    )


def of_system(alert: str, series: str, *, well: Told, wrong: Told, more: str = "", says: str = "") -> Case:
    """A gauge of the system, which the web process and the relay tell alike."""
    name = f"{series}{{{more + ', ' if more else ''}%s}}"
    return Case(alert, {name % WEB: (well, wrong), name % RELAY: (well, wrong)}, summary=says)


def delays(*, fast: tuple[float, float], slow: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """A histogram's counters: how many a second take up to a second, and how many up to ten."""
    name = f'outbox_sync_delay_seconds_bucket{{le="%s", {ORDERS}}}'
    whole = (fast[0] + slow[0], fast[1] + slow[1])
    return {name % "1": fast, name % "10": whole, name % "+Inf": whole}


CASES = (
    of_system(
        "DatabaseAway", "outbox_database_up", well=1, wrong=0,
        says="The database does not answer. Nothing is published or processed, and no figure of the system "
        "is known.",
    ),
    Case("DatabaseAway", {f"outbox_database_up{{{WEB}}}": (1, 0), f"outbox_database_up{{{RELAY}}}": (1, 1)}),
    of_system(
        "NothingTellsOfTheSystem", "outbox_database_up", well=1, wrong=None,
        says="Neither a web process nor a relay is scraped. No other alert can fire.",
    ),
    Case(
        "NothingTellsOfTheSystem",
        {f"outbox_database_up{{{WEB}}}": (1, None), f"outbox_database_up{{{RELAY}}}": (1, 1)},
    ),
    Case(
        "GaugesUnread",
        {
            f'outbox_gauges_unread{{part="lag", database="default", {one}}}': (0, 1)
            for one in (WEB, RELAY)
        },
        labels={"part": "lag", "database": "default"},
        summary="What is told of the lag cannot be read from default. No alert that rests on it can fire.",
    ),
    Case(
        "GaugesUnread",
        {
            f"outbox_gauges_unread{{part=\"lag\", database=\"default\", {WEB}}}": (0, 1),
            f"outbox_gauges_unread{{part=\"lag\", database=\"default\", {RELAY}}}": (0, 0),
        },
    ),
    Case(
        "NotScraped",
        {f"up{{{WEB}}}": (1, 0), f"up{{{RELAY}}}": (1, 1), 'up{job="others", instance="b"}': (1, 0)},
        labels={"job": "eventsite-web", "instance": "a:8000"},
        summary="eventsite-web at a:8000 does not answer.",
    ),
    Case(
        "RelayNotRunning",
        {f"outbox_shards_leased{{{WEB}}}": (8, 5), f"outbox_shards{{{WEB}}}": (8, 8)},
        summary="5 shards of the outbox have a relay. The events of the others wait, and reach no consumer.",
    ),
    of_system(
        "BacklogOld", "outbox_backlog_oldest_seconds", well=30, wrong=95,
        says="An event has waited in the outbox for 1m 35s.",
    ),
    of_system(
        "EventsRefused", "outbox_held_events", well=0, wrong=3,
        says="Kafka refused an event: 3 are held, and their keys with them.",
    ),
    of_orders(
        "ConsumerNotRunning", "outbox_consumer_instances", well=1, wrong=0, says="No instance of orders runs."
    ),
    Case(
        "ConsumerLate",
        {
            f"outbox_consumer_lag_seconds{{{ORDERS}}}": (5, 61),
            f"outbox_consumer_limit_seconds{{{ORDERS}}}": (5, 5),
            # As late, and not too late: its limit is its own.
            f'outbox_consumer_lag_seconds{{consumer="analytics", {WEB}}}': (5, 61),
            f'outbox_consumer_limit_seconds{{consumer="analytics", {WEB}}}': (90, 90),
        },
        labels=ON_ORDERS,
        summary="orders is 1m 1s behind, beyond its limit.",
    ),
    of_orders(
        "ConsumerLagUnknown", "outbox_consumer_lag_known", well=1, wrong=0,
        says="Nobody knows how far orders is behind. ConsumerLate cannot fire for it, and is no sign of "
        "health where it ended.",
    ),
    Case(
        "ConsumerSlow",
        {f"outbox_consumer_limit_seconds{{{ORDERS}}}": (5, 5)},
        # One in twenty-five is slow, then one in two: the 95th of a hundred is nine tenths up the slow ones.
        delays(fast=(24, 5), slow=(1, 5)),
        labels=ON_ORDERS,
        summary="One in twenty events of orders took more than 9.1s, its limit is less.",
    ),
    of_system(
        "NobodyLooksForAlarms", "outbox_alarms_age_seconds", well=120, wrong=3_600,
        says="Nobody has looked for alarms for 1h 0m 0s. KafkaAway, TasksDoNotRun and ConsumerFallingBehind "
        "say what was then, and no webhook or e-mail is sent.",
    ),
    of_system(
        "KafkaAway", "outbox_alarms", well=0, wrong=1, more='cause="kafka_away"',
        says="Kafka does not answer. What is published waits in the outbox.",
    ),
    of_system("KafkaAway", "outbox_alarms", well=0, wrong=1, more='cause="no_tasks"'),
    of_system(
        "TasksDoNotRun", "outbox_alarms", well=0, wrong=1, more='cause="no_tasks"',
        says="Celery's worker or its beat is away. No partitions are made, no jobs done, nobody is told "
        "of alarms.",
    ),
    of_orders(
        "ConsumerFallingBehind", "outbox_consumer_alarm", well=0, wrong=1, more='cause="falling_behind"',
        says="orders processes less than what comes in.",
    ),
    of_orders("ConsumerFallingBehind", "outbox_consumer_alarm", well=0, wrong=1, more='cause="late"'),
    of_orders(
        "ConsumerPausedItself", "outbox_consumer_paused", well=0, wrong=1, more='by="itself"',
        says="orders has paused itself: many keys failed for one reason, a bad deploy say.",
    ),
    of_orders("ConsumerPausedItself", "outbox_consumer_paused", well=0, wrong=1, more='by="operator"'),
    of_orders(
        "ConsumerPausedForLong", "outbox_consumer_paused", well=0, wrong=1, more='by="operator"',
        says="orders has been paused by an operator for an hour.",
    ),
    of_orders(
        "DeadLetters", "outbox_consumer_dead_letters", well=0, wrong=14,
        says="orders could not process 14 events. Later events of their keys wait.",
    ),
    of_orders(
        "GapOld", "outbox_consumer_gap_oldest_seconds", well=300, wrong=600,
        says="A key of orders has waited for a missing event for 10m 0s.",
    ),
    Case(
        "ConsumerRetries",
        rates={
            f'outbox_retries_total{{family="contention", {ORDERS}}}': (0, 0.2),
            f'outbox_retries_total{{family="unknown", {ORDERS}}}': (0, 0.3),
        },
        labels=ON_ORDERS,
        summary="Batches of orders failed 300 times within ten minutes.",
    ),
    # Others' being away is what their own alerts are for.
    Case("ConsumerRetries", rates={f'outbox_retries_total{{family="recoverable", {ORDERS}}}': (0, 10)}),
    Case(
        "CommandsFail",
        rates={
            f'eventsite_command_seconds_count{{command="refund", result="{result}", {WEB}}}': rates
            for result, rates in {"done": (10, 9), "failed": (0, 1), "refused": (1, 1)}.items()
        },
        labels={"command": "refund"},
        summary="9.091% of the commands refund fail.",
    ),
    of_system(
        "PartitionsRunOut", "outbox_partitions_ahead_days", well=14, wrong=1.5,
        says="Tables have partitions for 1.5 days. Then nothing can be published or processed.",
    ),
)  # fmt: skip


def test_every_alert_is_evaluated() -> None:
    assert {case.alert for case in CASES if case.summary} == {rule["alert"] for rule in rules()}


def test_prometheus_takes_the_example() -> None:
    promtool("check", "config", "--lint=all", "--lint-fatal", str(DEPLOY / "prometheus" / "prometheus.yml"))


@pytest.mark.parametrize("case", CASES, ids=[f"{case.alert}-{bool(case.summary)}" for case in CASES])
def test_an_alert_fires_when_it_should_and_not_otherwise(case: Case, tmp_path: Path) -> None:
    """Asked when all has been well for long, when it has been wrong for long, and when it is long over."""
    [rule] = [one for one in rules() if one["alert"] == case.alert]
    wrong = _seconds(rule.get("for", "0s")) + WELL
    fires = {
        "exp_labels": {"severity": rule["labels"]["severity"], **case.labels},
        "exp_annotations": {
            "summary": case.summary,
            "action": re.sub(
                r"{{ \$labels\.(\w+) }}", lambda one: case.labels[one[1]], rule["annotations"]["action"]
            ),
            "runbook": rule["annotations"]["runbook"],
        },
    }
    end = WELL + wrong
    moments = {WELL - STEP: [], end - STEP: [fires] if case.summary else [], end + WELL: []}
    document = {
        "rule_files": [str(DEPLOY / "prometheus" / "rules.yml")],
        "evaluation_interval": f"{STEP}s",
        "tests": [
            {
                "interval": f"{STEP}s",
                "input_series": _series(case, wrong=wrong),
                "alert_rule_test": [
                    {"eval_time": f"{at}s", "alertname": case.alert, "exp_alerts": expected}
                    for at, expected in moments.items()
                ],
            }
        ],
    }
    path = tmp_path / "case.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    promtool("test", "rules", str(path))


def _series(case: Case, *, wrong: int) -> list[dict[str, str]]:
    """Every series' samples: well, wrong, and well again."""
    phases = (WELL // STEP, wrong // STEP, WELL // STEP + 1)

    def told(well: Any, while_wrong: Any) -> list[Any]:
        return [well] * phases[0] + [while_wrong] * phases[1] + [well] * phases[2]

    gauges = {name: told(*values) for name, values in case.gauges.items()}
    counters = {
        name: [0, *accumulate(rate * STEP for rate in told(*rates)[1:])] for name, rates in case.rates.items()
    }
    return [
        {"series": name, "values": " ".join("_" if value is None else f"{value:g}" for value in values)}
        for name, values in (gauges | counters).items()
    ]


def _seconds(span: str) -> int:
    return int(span[:-1]) * {"s": 1, "m": 60, "h": 3_600}[span[-1]]


def promtool(*arguments: str) -> None:
    """Run it; what it has to say against them fails the test."""
    beside = Path(sys.executable).parent
    found = shutil.which("promtool", path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    assert found is not None, "promtool is missing: `make test` sees to it, by .ci/get-promtool."
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
