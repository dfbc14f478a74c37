"""Do payments answer as fast with the others away, and does everything catch up afterwards, to the unit?

    .venv/bin/python -m benchmarks.resilience --rate 40 --seconds 20 --rounds 3

Every scenario takes its turn in each round, so that a slow moment of the machine meets all of them. The load
is that of `manage.py generate_load`: an open loop over REST, whose delays count from the scheduled time.
"""

import argparse
import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
django.setup()

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.site import Site, running_site  # noqa: E402
from demo.clients import Clients  # noqa: E402
from demo.load import Shot, check, fire  # noqa: E402
from demo.readiness import until_ready  # noqa: E402
from demo.report import percentile  # noqa: E402
from outbox.registry import all_consumers  # noqa: E402

BASELINE = "all running"
SCENARIOS: Mapping[str, Sequence[str]] = {
    BASELINE: (),
    "loyalty stopped": ("loyalty-1",),
    "orders stopped": ("orders-1",),
    "Kafka stopped": ("kafka",),
    "all three stopped": ("loyalty-1", "orders-1", "kafka"),
}
CATCH_UP_SECONDS = 300.0
WARM_UP_SECONDS = 5.0
# What may be: answers are to come as fast as always.
WORST_RATIO = 1.5


@dataclass(kw_only=True)
class Measured:
    """One scenario over all rounds. Seconds; `caught_up` from the moment when all was started again."""

    answers: list[float] = field(default_factory=list)
    errors: int = 0
    late: int = 0
    caught_up: list[float] = field(default_factory=list)

    def add(self, shots: list[Shot], *, caught_up: float) -> None:
        """One round's."""
        self.answers += [shot.answered for shot in shots if shot.answered is not None]
        self.errors += sum(shot.error is not None for shot in shots)
        self.late += sum(shot.late > 0.05 for shot in shots)
        self.caught_up.append(caught_up)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What must be equal in the end; `paid` and `counted` are a number and a sum in the minor unit each."""

    validated: int
    orders: int
    entries: int
    paid: tuple[int, int]
    counted: tuple[int, int]
    dead: int

    @property
    def exact(self) -> bool:
        """Whether every validated payment has its order, its points and its place in the volumes, once."""
        return self.validated == self.orders == self.entries and self.paid == self.counted and not self.dead


def counts(site: Site) -> Counts:
    """As the tables say now."""
    [(validated, paid, orders, entries, counted, volume, dead)] = site.query(
        "SELECT p.count, p.sum, (SELECT count(*) FROM orders_order),"
        " (SELECT count(*) FROM loyalty_ledgerentry), v.count, v.sum,"
        " (SELECT count(*) FROM outbox_dead_letter)"
        " FROM (SELECT count(*), coalesce(sum(amount_minor), 0)::bigint AS sum FROM payments_payment"
        " WHERE status = 'validated') AS p,"
        " (SELECT coalesce(sum(count), 0)::bigint AS count, coalesce(sum(amount_minor), 0)::bigint AS sum"
        " FROM analytics_slot WHERE generation = 1 AND width = '1d' AND status = 'validated'"
        " AND merchant_id = '00000000-0000-0000-0000-000000000000') AS v"
    )
    return Counts(
        validated=validated,
        orders=orders,
        entries=entries,
        paid=(validated, paid),
        counted=(counted, volume),
        dead=dead,
    )


async def until_caught_up(site: Site) -> float:
    """Seconds until nothing is left to be done. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(CATCH_UP_SECONDS):
        while not counts(site).exact:
            await asyncio.sleep(0.1)
    return time.monotonic() - began


async def until_all_run(site: Site) -> None:
    """Every part serves."""
    await until_ready(
        url=site.url,
        kafka=site.stack.kafka_bootstrap,
        consumers=all_consumers(),
        processes=lambda: site.pids,
    )


async def measure(
    site: Site,
    token: str,
    *,
    scenarios: Mapping[str, Sequence[str]] = SCENARIOS,
    rate: float,
    seconds: float,
    rounds: int,
    say: Callable[[str], None],
    warm_up: float = WARM_UP_SECONDS,
) -> dict[str, Measured]:
    """Every scenario, `rounds` times in turn; each names the parts that are stopped meanwhile.

    Raises TimeoutError when something is not caught up on.
    """
    measured: dict[str, Measured] = defaultdict(Measured)
    site.start()
    await until_all_run(site)
    async with Clients(url=site.url, token=token) as clients:
        await check(clients)
        await fire(clients, rate=rate, seconds=warm_up, progress=lambda _: None)
        await until_caught_up(site)
        for number in range(1, rounds + 1):
            for name, stopped in scenarios.items():
                say(f"round {number} of {rounds}: {name}")
                await asyncio.to_thread(site.stop, *stopped)
                shots = await fire(clients, rate=rate, seconds=seconds, progress=lambda _: None)
                if stopped:
                    await asyncio.to_thread(site.start, *stopped)
                measured[name].add(shots, caught_up=await until_caught_up(site))
                await until_all_run(site)
    return measured


def p99(one: Measured) -> float:
    """Seconds."""
    return percentile(sorted(one.answers), 0.99)


def table(measured: dict[str, Measured]) -> Table:
    """For people."""
    shown = Table(title="Answers to payments: request and validation, two calls", title_justify="left")
    shown.add_column("")
    for name in ("payments", "errors", "p50 ms", "p99 ms", "p99 ratio", "caught up s"):
        shown.add_column(name, justify="right")
    baseline = p99(measured[BASELINE])
    for name, one in measured.items():
        answers = sorted(one.answers)
        shown.add_row(
            name,
            str(len(answers)),
            str(one.errors),
            f"{percentile(answers, 0.5) * 1000:.0f}",
            f"{p99(one) * 1000:.0f}",
            f"{p99(one) / baseline:.2f}",
            " / ".join(f"{seconds:.1f}" for seconds in one.caught_up),
        )
    return shown


def main() -> None:
    """Measure, and print the table and the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=40.0, help="payments a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load per scenario and round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    console = Console()
    with running_site(consumers=[consumer.name for consumer in all_consumers()]) as (site, accounts):
        measured = asyncio.run(
            measure(
                site,
                accounts.merchants[0].token,
                rate=options.rate,
                seconds=options.seconds,
                rounds=options.rounds,
                say=console.print,
            )
        )
        console.print(table(measured))
        console.print(counts(site))
    baseline = p99(measured[BASELINE])
    if any(one.errors or p99(one) > WORST_RATIO * baseline for one in measured.values()):
        sys.exit(f"Not every payment was answered, or not within {WORST_RATIO:g} times the usual p99.")


if __name__ == "__main__":
    main()
