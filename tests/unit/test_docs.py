"""What the documents name exists."""

import re
from pathlib import Path

import pytest

from outbox.alerts.causes import Cause, Severity, severity_of

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)|(?:src|srcset)=\"([^\"]+)\"")
# Paths of this project; `checkout` is the app of an example.
MODULE = re.compile(r"`(?!checkout/)((?:[a-z_]+/)+[\w.]+\.\w+)`")


def anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_table_of_alarms_has_each_and_says_which_are_critical() -> None:
    manual = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = manual.partition("| alarm | critical | when |\n|---|---|---|\n")[2].partition("\n\n")[0]
    told = [[cell.strip() for cell in row.split("|")[1:3]] for row in table.splitlines()]
    critical = {True: "yes", False: ""}
    assert sorted(told) == sorted(
        [cause.label, critical[severity_of(cause) is Severity.CRITICAL]] for cause in Cause
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_tests_files_and_links_it_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for path, name in TEST.findall(text):
        assert f"def {name}(" in (PROJECT / path).read_text(encoding="utf-8"), f"{path}::{name}"
    for path in MODULE.findall(text):
        assert (PROJECT / path).exists(), path
    for target, fragment, image in LINK.findall(text):
        linked = document.parent / (target or image) if target or image else document
        assert linked.exists(), target or image
        if fragment:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in [anchor(heading) for heading in headings], fragment


def test_the_promises_are_numbered_in_order_and_all_in_the_list_above_them() -> None:
    text = (PROJECT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\d+)\. (.+)$", text, re.MULTILINE)
    listed = re.findall(r"^(\d+)\. \[(.+)\.\]\(#", text, re.MULTILINE)
    assert headings == listed
    assert [int(number) for number, _ in headings] == [*range(1, len(headings) + 1)]
