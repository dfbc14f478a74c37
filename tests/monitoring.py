"""What deploy/ asks of Prometheus: its expressions, and the metrics and labels that they name."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
# What Prometheus itself gives to whatever it scrapes.
OWN_METRICS = {"up"}
OWN_LABELS = {"job", "instance"}


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    document = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The board's panels that show something."""
    document = json.loads((DEPLOY / "grafana" / "eventsite.json").read_text(encoding="utf-8"))
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each stands, and the expression."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def asked(expression: str) -> dict[str, set[str]]:
    """The metrics that an expression names, each with the labels that are asked of it.

    Labels of an aggregation are asked of all metrics below it, those of a comparison of both of its sides.
    Raises ValueError for what is no PromQL.
    """
    found: dict[str, set[str]] = defaultdict(set)
    _look(promql_parser.parse(expression), frozenset(), found)
    return found


def _look(node: Any, labels: frozenset[str], found: dict[str, set[str]]) -> None:
    match type(node).__name__:
        case "VectorSelector":
            found[node.name] |= labels | {matcher.name for matcher in node.matchers.matchers}
        case "MatrixSelector":
            _look(node.vector_selector, labels, found)
        case "Call":
            for argument in node.args:
                _look(argument, labels, found)
        case "AggregateExpr":
            own = labels if node.modifier is None else labels | set(node.modifier.labels)
            _look(node.expr, own, found)
        case "BinaryExpr":
            matching = None if node.modifier is None else node.modifier.matching
            own = labels if matching is None else labels | set(matching.labels)
            _look(node.lhs, own, found)
            _look(node.rhs, own, found)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            _look(node.expr, labels, found)
        case "NumberLiteral" | "StringLiteral":
            pass
        case other:
            raise ValueError(f"{other} is not looked into here")
