"""Every error the engine raises. The first line of a class says what happened; messages say what to do."""


class OutboxError(Exception):
    """The base of the engine's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class NonRecoverable(OutboxError):
    """Trying again cannot help. A handler raises a subclass to have the event dead-lettered at once."""


class Recoverable(OutboxError):
    """What a handler needs is away. It raises a subclass to have the event tried again until it is back."""


class ContractViolation(NonRecoverable):
    """The event's data does not fit its contract."""


class MalformedRecord(NonRecoverable):
    """The Kafka record is not an event this project can read."""


class InvalidTopic(OutboxError):
    """The topic's declaration is not one Kafka accepts."""


class UnknownTopic(OutboxError):
    """The topic is not declared, or has not been created yet: run `manage.py topics apply`."""


class UnknownConsumer(OutboxError):
    """No consumer of this name is declared in any app's handlers.py."""


class ConsumerMisdeclared(OutboxError):
    """A consumer's declaration cannot be followed; the message says what to change."""


class PublishOutsideTransaction(OutboxError):
    """publish() was called outside a transaction: wrap the change and its event in transaction.atomic()."""


class EventTooLarge(ContractViolation):
    """The event is larger than the broker accepts: carry a reference instead of the data."""


class NoPartition(OutboxError):
    """The outbox has no partition for this moment: run `manage.py outbox_partitions`, and check the clock."""


class StandbyDatabase(OutboxError):
    """A relay must read the primary: a standby's snapshots hide open transactions."""


class RestoredDatabase(OutboxError):
    """The database was restored or copied, or Kafka is another one: say which with `relay adopt`."""


class NotAdopted(OutboxError):
    """What was said does not fit what is there: nothing was changed."""


class PooledDatabase(OutboxError):
    """This needs a session of its own: lead it to PostgreSQL itself, not to a pooler."""


class LeaseLost(OutboxError):
    """Another relay has taken over these shards."""


class NotInTransaction(OutboxError):
    """Partitions are detached outside any transaction: call this outside transaction.atomic()."""


class PruningUnderWay(OutboxError):
    """The outbox is being pruned by another session: wait for it."""


class NotRefused(OutboxError):
    """The event is not held: there is nothing to be done about it."""


class LateEvent(NonRecoverable):
    """The event's place in its key has been passed: later events of the key were processed before it came."""


class TransactionEnded(NonRecoverable):
    """The handler ended the transaction that it was called in, or left a block of its own open."""


class HandlerTimedOut(OutboxError):
    """A handler did not come back within its limit, and was interrupted."""


class ProcessDied(NonRecoverable):
    """The process died each time while it had this event in hand: look for its end in the system's log."""


class ForgottenEvent(NonRecoverable):
    """The event is older than what the inbox still knows: nobody can tell whether it was processed."""


class WindowTooShort(OutboxError):
    """The inbox must know what Kafka may deliver again: keep at least seven days."""


class OverlappingConsumer(OutboxError):
    """Another instance has just processed an event of this batch; the batch is run again without it."""


class NotAProjection(OutboxError):
    """Only a consumer declared with a Projection can be rebuilt: others would act a second time."""


class RebuildUnderWay(OutboxError):
    """This projection is being rebuilt by another process: wait for it, or stop it first."""


class NothingToAbandon(OutboxError):
    """No half-built generation of this projection exists."""


class SeekRefused(OutboxError):
    """The consumer's place in Kafka was not changed."""


class HistoryGone(OutboxError):
    """Kafka no longer has events whose effects only the live generation has: a rebuild would lose them."""


class PublishWhileBuilding(OutboxError):
    """A projection being rebuilt may not publish: its events have been published when they were live."""


class GenerationEnded(OutboxError):
    """The generation that was being built has become live, or was abandoned."""


class MetricsAddressInUse(OutboxError):
    """The address at which this process is to tell its metrics is taken, or not the machine's."""


class RepairRefused(OutboxError):
    """This cannot be done about what was set aside: nothing was changed."""


class NothingSaid(RepairRefused):
    """Who does this, or why, is missing: it is written down with what is done."""


class NoSuchLetter(RepairRefused):
    """No dead letter has this id."""


class NoSuchParkedKey(RepairRefused):
    """No parked key has this id: it has been released, if it was parked."""


class NoSuchJob(RepairRefused):
    """No job has this id."""


class MoreThanShown(RepairRefused):
    """More would be acted on than the operator was told of: nothing was begun."""


class NotAsShown(RepairRefused):
    """It is not any more as the operator was shown it: nothing was done."""


class LetterSuperseded(RepairRefused):
    """The dead letter belongs to a generation that is no longer live: the live one has judged for itself."""


class EarlierLetter(RepairRefused):
    """Another dead letter holds the key: replay or discard that one first."""


class CorrectionRefused(RepairRefused):
    """The corrected data does not fit the contract, or there is none to check it against."""


class NothingSelected(RepairRefused):
    """Nothing says which events are meant: give a filter, or say all."""


class AlertsMisconfigured(OutboxError):
    """OUTBOX["ALERTS"] is wrong: nobody would be told of alarms."""

    def __init__(self, message: str = "") -> None:
        super().__init__(f'OUTBOX["ALERTS"]: {message}' if message else "")


class NotDelivered(OutboxError):
    """A notice did not reach its receiver; it is tried again."""


class NoSuchAlarm(RepairRefused):
    """The alarm is over, or never was: there is nothing to silence."""
