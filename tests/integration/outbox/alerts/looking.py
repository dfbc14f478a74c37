"""Looking for alarms again and again, as instances and the periodic task do."""

from outbox.alerts.alarms import Alarm, Watch
from outbox.positions import LagSample
from outbox.sampling import sample_when_due
from tests.engine import until


def look() -> dict[tuple[str, str], Alarm]:
    """Look now, as if the last look had been ten seconds ago; what is wrong, by cause and subject."""
    until(_looked)
    return present()


def _looked() -> bool:
    """Whether it was done here; an instance of a consumer may be at it."""
    LagSample.objects.all().delete()
    Watch.objects.update(checked_at=None)
    return sample_when_due()


def present() -> dict[tuple[str, str], Alarm]:
    return {(alarm.cause, alarm.subject): alarm for alarm in Alarm.objects.present()}
