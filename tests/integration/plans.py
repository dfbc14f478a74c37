"""What statements read, by their plans."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def reading(table: str) -> Iterator[list[tuple[int, str]]]:
    """Of each statement about a table, how many rows the greediest node of its plan read, and the plan."""
    read: list[tuple[int, str]] = []

    def explained(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if table in sql:
            execute(f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) {sql}", parameters, many, context)
            plan = "\n".join(line for (line,) in context["cursor"].fetchall())
            read.append((most_rows(plan), f"{sql}\n{parameters}\n{plan}"))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(explained):
        yield read


def most_rows(plan: str) -> int:
    """Of all nodes: what one gave, and what it passed over, in all its loops."""
    counts, loops = [0], 1
    for line in plan.splitlines():
        if found := re.search(r"actual rows=([\d.]+) loops=(\d+)", line):
            loops = int(found[2])
            counts.append(round(float(found[1]) * loops))
        elif found := re.search(r"Rows Removed by (?:Filter|Index Recheck): (\d+)", line):
            counts.append(int(found[1]) * loops)
    return max(counts)
