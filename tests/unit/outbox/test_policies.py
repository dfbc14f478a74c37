"""What a consumer declares about errors is followed, or refused where it is declared."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from django.db import OperationalError

from outbox import Consumer, Discard, NonRecoverable, Park, Recoverable, Retry, Wait, registry
from outbox.errors import (
    ConsumerMisdeclared,
    ContractViolation,
    GenerationEnded,
    LateEvent,
    OverlappingConsumer,
)
from outbox.policies import Policy
from outbox.recovery import policy_for


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    before = dict(registry._consumers)
    yield
    registry._consumers.clear()
    registry._consumers.update(before)


class Refused(NonRecoverable):
    """No."""


class RefusedHere(Refused):
    """Not here."""


class RatesAway(Recoverable):
    """The rates are away."""


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (Refused(), Discard("not ours")),
        (RefusedHere(), Retry(times=7)),  # the nearest class decides
        (KeyError(), Wait()),
        (LookupError(), Retry(times=2, then=Discard("no such thing"))),
        (ValueError(), Retry(times=3)),
        (ContractViolation(), Park()),
        (OverlappingConsumer(), Retry(times=10)),
        (RatesAway(), Wait()),
        (OperationalError("server away"), Wait()),  # whatever is declared
    ],
)
def test_the_declaration_of_the_nearest_class_decides_then_the_family(
    error: Exception, policy: Policy
) -> None:
    declared: dict[type[Exception], Policy] = {
        Refused: Discard("not ours"),
        RefusedHere: Retry(times=7),
        KeyError: Wait(),
        LookupError: Retry(times=2, then=Discard("no such thing")),
        OperationalError: Discard("never"),
    }
    assert policy_for(error, declared, unknown_retries=3) == policy


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({Refused: Discard("")}, "Refused: Discard.* why"),
        ({Refused: Discard("  ")}, "why"),
        ({Refused: Discard(cast("Any", None))}, "why"),
        ({Refused: Retry(times=0)}, "from 1"),
        ({Refused: Retry(times=True)}, "from 1"),
        ({Refused: Retry(times=2, then=cast("Any", Wait()))}, "then"),
        ({Refused: Retry(times=2, then=Discard(""))}, "why"),
        ({Refused: Park}, "is no policy; there are Wait"),
        ({Refused: "park"}, "no policy"),
        ({"Refused": Park()}, "subclasses of Exception"),
        ({Refused(): Park()}, "subclasses of Exception"),
        ({KeyboardInterrupt: Park()}, "subclasses of Exception"),
        ({OverlappingConsumer: Park()}, "the engine decides"),
        ({GenerationEnded: Park()}, "the engine decides"),
        ({ContractViolation: Retry(times=2)}, "comes to the same"),
        ({LateEvent: Wait()}, "comes to the same"),
        ([Refused], "maps error classes"),
    ],
)
def test_what_cannot_be_followed_is_refused_where_it_is_declared(declared: Any, says: str) -> None:
    with pytest.raises(ConsumerMisdeclared, match=says):
        Consumer(name="mine", sync_delay_limit=timedelta(seconds=1), on_error=declared)
    assert "mine" not in registry._consumers
