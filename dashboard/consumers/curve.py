"""A small curve as the path of an SVG: drawn by the server, so that it needs no script."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 120, 24
# Samples are ten seconds apart; where one is missing the curve breaks.
_BREAK = timedelta(seconds=25)


@dataclass(frozen=True, slots=True)
class Curve:
    """The path, and where its limit is drawn; None while the curve is far below it."""

    path: str
    limit: float | None
    highest: float


def curve(
    points: Iterable[tuple[datetime, float | None]], *, now: datetime, window: timedelta, limit: float
) -> Curve:
    """The curve of these values, the oldest first, over the window that ends now; a gap where one is None."""
    shown = [(at, value) for at, value in points if at > now - window]
    highest = max((value for _, value in shown if value is not None), default=0.0)
    near = highest > limit / 2
    # Before it comes near, its limit would press the curve flat.
    top = max(highest, limit if near else 0.0, 0.001) * 1.15

    def height(value: float) -> float:
        return HEIGHT - 1 - value / top * (HEIGHT - 2)

    path, before = list[str](), None
    for at, value in shown:
        if value is None:
            before = None
            continue
        across = WIDTH * (1 - (now - at) / window)
        pen = "M" if before is None or at - before > _BREAK else "L"
        path.append(f"{pen}{across:.1f} {height(value):.1f}")
        before = at
    return Curve("".join(path), round(height(limit), 1) if near else None, highest)
