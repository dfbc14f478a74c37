"""The figures of a load, as a table."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from demo.load import LATE_SECONDS, Shot


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of all shots. `answers` and `effects` are delays in seconds, sorted."""

    sent: int
    late: int
    errors: Counter[str]
    unprocessed: int
    answers: list[float] = field(repr=False)
    effects: list[float] = field(repr=False)

    @classmethod
    def of(cls, shots: Sequence[Shot]) -> "Report":
        """Count."""
        return cls(
            sent=len(shots),
            late=sum(shot.late > LATE_SECONDS for shot in shots),
            errors=Counter(shot.error for shot in shots if shot.error),
            unprocessed=sum(shot.event_id is not None and shot.processed is None for shot in shots),
            answers=sorted(shot.answered for shot in shots if shot.answered is not None),
            effects=sorted(shot.processed for shot in shots if shot.processed is not None),
        )

    @property
    def complete(self) -> bool:
        """Whether every payment was validated and processed."""
        return not self.errors and not self.unprocessed

    def table(self) -> Table:
        """For people."""
        table = Table(title="Delays count from the scheduled time", title_justify="left")
        table.add_column("")
        for name in ("count", "p50 ms", "p95 ms", "p99 ms", "max ms"):
            table.add_column(name, justify="right")
        table.add_row("sent", str(self.sent))
        table.add_row("started late", str(self.late))
        table.add_row("errors", str(self.errors.total()))
        for kind, count in self.errors.most_common():
            table.add_row(f"  {kind}", str(count))
        table.add_row("validated", *_figures(self.answers))
        table.add_row("processed by all", *_figures(self.effects))
        table.add_row("not processed", str(self.unprocessed))
        return table


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all (nearest rank); of none, not a number."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _figures(delays: Sequence[float]) -> list[str]:
    if not delays:
        return ["0"]
    figures = [percentile(delays, share) for share in (0.5, 0.95, 0.99, 1.0)]
    return [str(len(delays)), *(f"{figure * 1000:.0f}" for figure in figures)]
