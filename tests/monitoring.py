"""What deploy/ asks of Prometheus: its expressions, and the metrics, labels and values that they name."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
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
    for selector, labels in _selectors(promql_parser.parse(expression), frozenset()):
        found[selector.name] |= labels | {matcher.name for matcher in selector.matchers.matchers}
    return found


def compared(expression: str) -> Iterator[tuple[str, str, Any]]:
    """The metric, the label, and the matcher that compares it with a value or a pattern."""
    for selector, _ in _selectors(promql_parser.parse(expression), frozenset()):
        for matcher in selector.matchers.matchers:
            yield selector.name, matcher.name, matcher


def can_match(matcher: Any, values: Iterable[str]) -> bool:
    """Whether what it compares a label with, each alternative of a pattern, is one of these values."""
    if matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual):
        return matcher.value in set(values)
    return all(any(re.fullmatch(one, value) for value in values) for one in matcher.value.split("|"))


def _selectors(node: Any, labels: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """Each with the labels that are asked of it from around."""
    match type(node).__name__:
        case "VectorSelector":
            yield node, labels
        case "MatrixSelector":
            yield from _selectors(node.vector_selector, labels)
        case "Call":
            for argument in node.args:
                yield from _selectors(argument, labels)
        case "AggregateExpr":
            own = labels if node.modifier is None else labels | set(node.modifier.labels)
            yield from _selectors(node.expr, own)
        case "BinaryExpr":
            matching = None if node.modifier is None else node.modifier.matching
            own = labels if matching is None else labels | set(matching.labels)
            yield from _selectors(node.lhs, own)
            yield from _selectors(node.rhs, own)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from _selectors(node.expr, labels)
        case "NumberLiteral" | "StringLiteral":
            pass
        case other:
            raise ValueError(f"{other} is not looked into here")
