"""With the others away payments are answered all the same, and everything catches up, to the unit.

The short form of benchmarks/resilience.py, which measures it.
"""

import asyncio

from benchmarks.resilience import SCENARIOS, counts, measure
from benchmarks.site import running_site
from outbox.registry import all_consumers

RATE, SECONDS = 10.0, 3.0
WORST = "all three stopped"


def test_payments_are_answered_with_all_others_stopped_and_all_catches_up() -> None:
    names = [consumer.name for consumer in all_consumers()]
    with running_site(consumers=names) as (site, accounts):
        measured = asyncio.run(
            measure(
                site,
                accounts.merchants[0].token,
                scenarios={WORST: SCENARIOS[WORST]},
                rate=RATE,
                seconds=SECONDS,
                rounds=1,
                say=print,
                warm_up=1.0,
            )
        )
        final = counts(site)
    assert measured[WORST].errors == 0
    assert len(measured[WORST].answers) == RATE * SECONDS
    assert final.exact
    assert final.validated >= RATE * SECONDS
