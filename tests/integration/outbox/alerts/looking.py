"""Looking for alarms again and again, as instances and the periodic task do."""

from outbox.alerts.alarms import Alarm, Watch
from outbox.positions import LagSample
from outbox.sampling import sample_when_due


def look() -> dict[tuple[str, str], Alarm]:
    """Look now, as if the last look had been ten seconds ago; what is wrong, by cause and subject."""
    LagSample.objects.all().delete()
    Watch.objects.update(checked_at=None)
    assert sample_when_due()
    return present()


def present() -> dict[tuple[str, str], Alarm]:
    return {(alarm.cause, alarm.subject): alarm for alarm in Alarm.objects.present()}
