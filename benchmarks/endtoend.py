"""How long from a payment's POST to the effects that follow from it, with everything on one machine.

    .venv/bin/python -m benchmarks.endtoend --rates 50 100 --seconds 20 --rounds 2

An open loop over REST, as `manage.py generate_load`: each payment is requested and validated by two calls.
Counted are, for each validated payment: from the scheduled time to the answer; from the event's occurred_at,
which is taken within the validating POST, to each consumer's committed effect; and from the scheduled time to
the last of these. How late the loop itself ran says whether the machine could keep up, and the CPU that each
part took for a payment, why not.
"""

import argparse
import asyncio
import os
from collections import defaultdict
from datetime import UTC, datetime

import django
import psutil

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
django.setup()

from benchmarks.resilience import counts, until_all_run, until_caught_up  # noqa: E402
from benchmarks.site import Site, running_site  # noqa: E402
from benchmarks.writers import percentiles  # noqa: E402
from demo.clients import Clients  # noqa: E402
from demo.load import Shot, check, fire  # noqa: E402
from outbox.registry import all_consumers  # noqa: E402

WARM_UP_SECONDS = 5.0
ANSWER, LATE, LAST = "answer to the validating POST", "the loop ran late", "POST to the last effect"
LOAD = "this load"
Delays = dict[str, list[float]]


def delays_of(site: Site, shots: list[Shot]) -> Delays:
    """Seconds, by what they are of."""
    done: dict[str, list[tuple[str, datetime, datetime]]] = defaultdict(list)
    ids = "', '".join(shot.event_id for shot in shots if shot.event_id is not None)
    for event_id, consumer, occurred_at, processed_at in site.query(
        "SELECT event_id::text, consumer, occurred_at, processed_at FROM outbox_inbox"  # noqa: S608
        f" WHERE outcome = 'processed' AND event_id IN ('{ids}')"
    ):
        done[event_id].append((consumer, occurred_at, processed_at))
    found: Delays = defaultdict(list)
    for shot in shots:
        found[LATE].append(shot.late)
        if shot.answered is None or shot.event_id is None:
            continue
        found[ANSWER].append(shot.answered)
        for consumer, occurred_at, processed_at in done[shot.event_id]:
            found[f"event to effect in {consumer}"].append((processed_at - occurred_at).total_seconds())
        last = max(processed_at for _, _, processed_at in done[shot.event_id])
        found[LAST].append((last - datetime.fromtimestamp(shot.scheduled_at, UTC)).total_seconds())
    return found


def cpu_of(site: Site) -> dict[str, float]:
    """Seconds that each part has taken by now, with its children."""
    pids = {
        **site.pids,
        "postgres": site.stack.postgres.pid,
        "kafka": site.stack.kafka.pid,
        LOAD: os.getpid(),
    }
    taken: dict[str, float] = {}
    for name, pid in pids.items():
        process = psutil.Process(pid)
        family = [process] if name == LOAD else [process, *process.children(recursive=True)]
        taken[name] = sum(sum(one.cpu_times()[:2]) for one in family)
    return taken


async def measure(
    site: Site, token: str, *, rates: list[float], seconds: float, rounds: int
) -> tuple[dict[float, Delays], dict[str, float]]:
    """Every rate in each round, and each part's CPU seconds. Raises TimeoutError when not caught up on."""
    measured: dict[float, Delays] = {rate: defaultdict(list) for rate in rates}
    site.start()
    await until_all_run(site)
    async with Clients(url=site.url, token=token) as clients:
        await check(clients)
        await fire(clients, rate=rates[0], seconds=WARM_UP_SECONDS, progress=lambda _: None)
        await until_caught_up(site)
        before = cpu_of(site)
        for _ in range(rounds):
            for rate in rates:
                shots = await fire(clients, rate=rate, seconds=seconds, progress=lambda _: None)
                await until_caught_up(site)
                for what, spans in delays_of(site, shots).items():
                    measured[rate][what] += spans
        return measured, {name: taken - before[name] for name, taken in cpu_of(site).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[50.0, 100.0], help="payments a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load per rate and round")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with running_site(consumers=[consumer.name for consumer in all_consumers()]) as (site, accounts):
        measured, cpu = asyncio.run(
            measure(
                site,
                accounts.merchants[0].token,
                rates=options.rates,
                seconds=options.seconds,
                rounds=options.rounds,
            )
        )
        print(f"{'payments/s':>10}  {'':36}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'count':>8}")  # noqa: T201
        for rate, delays in measured.items():
            for what, spans in sorted(delays.items()):
                shown = "".join(f"{value:9.1f}" for value in percentiles(spans, 0.5, 0.95, 0.99))
                print(f"{rate:10g}  {what:36}{shown}{len(spans):8}")  # noqa: T201
        payments = sum(len(delays[LATE]) for delays in measured.values())
        print("CPU ms of a payment:", end="")  # noqa: T201
        for name, taken in sorted(cpu.items(), key=lambda one: -one[1]):
            print(f" {name} {1000 * taken / payments:.1f}", end="")  # noqa: T201
        print(f"\n{counts(site)}")  # noqa: T201


if __name__ == "__main__":
    main()
