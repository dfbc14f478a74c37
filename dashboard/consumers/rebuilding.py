"""A rebuild in words: how far it is, how long it will take, and who carries it out."""

from dataclasses import dataclass
from datetime import timedelta

from dashboard import formats
from dashboard.consumers.standing import Standing
from dashboard.formats import Text
from outbox.consumer_models import RebuildRequest
from outbox.progress import Progress

# Workers take turns of seconds; silence that is longer means that none is there.
_SILENCE = timedelta(seconds=30)
_BEGINNING = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What is known of it.

    percent   None before the first look
    left      until all is read, at the present rate
    trouble   what keeps it, and what to do about that; empty when nothing does
    """

    request: RebuildRequest
    percent: int | None
    rate: Text
    left: Text
    trouble: str

    @property
    def stopped(self) -> bool:
        """Whether somebody has to decide."""
        return bool(self.request.error)


def rebuilding(standing: Standing) -> Rebuilding | None:
    """The rebuild under way; None when there is none."""
    request = standing.rebuild
    if request is None:
        return None
    progress = None
    if request.records is not None:
        progress = Progress(request.generation, request.read, request.records)
    left = formats.UNKNOWN
    if progress is not None and request.per_second:
        seconds = max(progress.records - progress.read, 0) / request.per_second
        left = formats.delay(timedelta(seconds=seconds))
    return Rebuilding(
        request,
        None if progress is None else progress.percent,
        formats.rate(request.per_second),
        left,
        _trouble(standing, request),
    )


def _trouble(standing: Standing, request: RebuildRequest) -> str:
    now = standing.lag.at
    if request.error:
        return request.error
    if request.told_at is None and now - request.asked_at > _BEGINNING:
        return (
            "It waits for a worker. Celery's worker and beat carry it out: celery -A eventsite worker"
            " --pool=threads, celery -A eventsite beat."
        )
    if request.told_at is not None and now - request.told_at > _SILENCE:
        silence = formats.delay(now - request.told_at)
        return f"No worker has gone on with it for {silence}. {request.note}".strip()
    return request.note
