"""The kinds of alarms, how bad each is, and what to do about it."""

from django.db import models


class Severity(models.TextChoices):
    """Critical: what was promised is not kept now, or will not be soon. Warning: somebody should look."""

    CRITICAL = "critical"
    WARNING = "warning"


class Cause(models.TextChoices):
    """What is wrong. The subject of an alarm is a consumer, a topic, or nothing where there is only one."""

    NO_RELAY = "no_relay", "No relay runs"
    BACKLOG = "backlog", "The outbox is not emptied"
    REFUSED = "refused", "Kafka refused events"
    NO_INSTANCE = "no_instance", "No instance runs"
    LATE = "late", "Late"
    FALLING_BEHIND = "falling_behind", "Falling behind"
    PAUSED_ITSELF = "paused_itself", "Paused itself"
    PAUSED = "paused", "Paused for long"
    DEAD_LETTERS = "dead_letters", "Dead letters"
    GAPS = "gaps", "Keys wait behind gaps"
    LOST = "lost", "Records were lost"
    PARTITIONS = "partitions", "Partitions run out"
    OUTBOX_WEEKS = "outbox_weeks", "The outbox is not pruned"
    INBOX_WEEKS = "inbox_weeks", "The inbox is not pruned"
    WRAPAROUND = "wraparound", "Transaction ids run out"
    KAFKA_AWAY = "kafka_away", "Kafka is away"
    NO_TASKS = "no_tasks", "Periodic tasks do not run"


_CRITICAL = {
    Cause.NO_RELAY,
    Cause.BACKLOG,
    Cause.NO_INSTANCE,
    Cause.LATE,
    Cause.PAUSED_ITSELF,
    Cause.LOST,
    Cause.PARTITIONS,
    Cause.WRAPAROUND,
    Cause.KAFKA_AWAY,
    Cause.NO_TASKS,
}

_ADVICE = {
    Cause.NO_RELAY: "Start a relay: manage.py run_relay",
    Cause.BACKLOG: "Kafka is away, or a topic is missing: the relay's log says which, /readyz too.",
    Cause.REFUSED: "Mend what the cause names, then: manage.py relay resend EVENT_ID, or discard it",
    Cause.NO_INSTANCE: "Start an instance: manage.py run_consumer {subject}",
    Cause.LATE: "Its log says what it waits for, its database for one; else it has too few instances.",
    Cause.FALLING_BEHIND: "Start more instances: manage.py run_consumer {subject} --instances N",
    Cause.PAUSED_ITSELF: "Mend what fails, then: manage.py consumers resume {subject}",
    Cause.PAUSED: "When the reason is gone: manage.py consumers resume {subject}",
    Cause.DEAD_LETTERS: "Replay, correct or discard them: manage.py replay --consumer {subject} --dry-run",
    Cause.GAPS: "Look for the missing event in Kafka and among the refused; else: manage.py release",
    Cause.LOST: "See outbox_lost_stretch, and the topics' retention; replay --from-outbox gives them again.",
    Cause.PARTITIONS: "Make them: manage.py outbox_partitions; then look after Celery's beat and worker.",
    Cause.OUTBOX_WEEKS: "See what keeps them: manage.py prune_events --dry-run",
    Cause.INBOX_WEEKS: "See what keeps them: manage.py prune_inbox --dry-run",
    Cause.KAFKA_AWAY: "Look after Kafka's brokers and the way there: what is published waits in the outbox.",
    Cause.NO_TASKS: "Start Celery's worker and its beat: celery -A PROJECT worker, celery -A PROJECT beat",
    Cause.WRAPAROUND: "Look for what holds VACUUM up: old transactions, prepared ones, replication slots.",
}


def severity_of(cause: Cause) -> Severity:
    """How bad it is."""
    return Severity.CRITICAL if cause in _CRITICAL else Severity.WARNING


def advice_on(cause: str, subject: str) -> str:
    """What to do next, with a command where there is one; nothing for a cause that is no longer known."""
    return _ADVICE[Cause(cause)].format(subject=subject) if cause in Cause.values else ""


def label_of(cause: str) -> str:
    """Its name for people; the cause itself when it is no longer known."""
    return str(Cause(cause).label) if cause in Cause.values else cause
