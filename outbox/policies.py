"""What a consumer does about an event at which it fails, declared by the error's class. Free of Django.

    Consumer(..., on_error={
        CustomerNotYetKnown: Retry(times=20),
        PaymentUnknownHere: Discard("orders of other shops pass through this topic"),
        RatesAway: Wait(),
    })

An error without a declaration of its own goes by its base classes' declarations, the nearest first, and
without any by its family (outbox/recovery.py). What is away is waited for whatever is declared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from outbox.errors import (
    ConsumerMisdeclared,
    ContractViolation,
    ForgottenEvent,
    GenerationEnded,
    LateEvent,
    MalformedRecord,
    NoPartition,
    OverlappingConsumer,
    ProcessDied,
    PublishWhileBuilding,
    UnknownTopic,
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What the event needs is away: try again for as long as it takes, and never count."""


@dataclass(frozen=True, slots=True)
class Park:
    """Dead-letter the event; later events of its key wait behind it."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Move past the event without an effect, and list it with this reason; its key goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again with the event alone, up to `times` attempts in all, ever longer apart; then do the other."""

    times: int
    then: Park | Discard = Park()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an event is not to be handled, after how many attempts, and what becomes of it instead."""

    error: Exception
    attempts: int
    end: Park | Discard


Policy = Wait | Retry | Park | Discard
Policies = Mapping[type[Exception], Policy]

# What the engine itself must decide about: where the worker cannot go on, or nothing is wrong with an event.
_NOT_DECLARED = (GenerationEnded, NoPartition, OverlappingConsumer, PublishWhileBuilding, UnknownTopic)
# Trying these again comes to the same.
_FINAL = (ContractViolation, ForgottenEvent, LateEvent, MalformedRecord, ProcessDied)


def declared_for(error: BaseException, policies: Policies) -> Policy | None:
    """The policy of the error's class, or of the nearest base class that has one."""
    for kind in type(error).__mro__:
        if kind in policies:
            return policies[kind]
    return None


def ending(policy: Policy) -> Park | Discard:
    """What becomes of the event once it is not tried any more."""
    if isinstance(policy, Retry):
        return policy.then
    return policy if isinstance(policy, Discard) else Park()


def check_policies(consumer: str, policies: object) -> None:
    """Raises ConsumerMisdeclared for what cannot be followed, saying what to change."""
    if not isinstance(policies, Mapping):
        raise ConsumerMisdeclared(f"Consumer {consumer!r}: on_error maps error classes to policies.")
    for kind, policy in policies.items():
        fault = _fault_of(kind, policy)
        if fault is not None:
            name = kind.__name__ if isinstance(kind, type) else repr(kind)
            raise ConsumerMisdeclared(f"Consumer {consumer!r}, on_error of {name}: {fault}")


def _fault_of(kind: object, policy: object) -> str | None:
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return "policies are declared for subclasses of Exception."
    if isinstance(policy, type) or not isinstance(policy, Wait | Retry | Park | Discard):
        return f"{policy!r} is no policy; there are Wait(), Retry(times=…), Park() and Discard(reason=…)."
    if issubclass(kind, _NOT_DECLARED):
        return "the engine decides about this one; nothing is wrong with the event."
    if issubclass(kind, _FINAL) and isinstance(policy, Wait | Retry):
        return "trying again comes to the same; there are Park() and Discard(reason=…)."
    if isinstance(policy, Retry) and not _is_count(policy.times):
        return "Retry(times=…) is a number of attempts, from 1."
    end = policy.then if isinstance(policy, Retry) else policy
    if isinstance(policy, Retry) and not isinstance(end, Park | Discard):
        return "Retry(then=…) is Park() or Discard(reason=…)."
    if isinstance(end, Discard) and not (isinstance(end.reason, str) and end.reason.strip()):
        return "Discard(reason=…) says why such events may be passed over: it is listed with each of them."
    return None


def _is_count(times: object) -> bool:
    return isinstance(times, int) and not isinstance(times, bool) and times > 0
