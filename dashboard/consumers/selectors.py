"""What the pages of consumers show, read from what instances have told the database."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

from dashboard.asking import Patience, TooSlow, one_look
from dashboard.consumers.curve import curve
from dashboard.consumers.standing import Aside, Standing
from dashboard.formats import Bounded
from dashboard.selectors import standing_aside
from outbox.consumer_models import RebuildRequest
from outbox.lag import lags
from outbox.models import Generation
from outbox.pausing import all_pauses
from outbox.positions import LagSample
from outbox.registry import Consumer, all_consumers
from outbox.repair.acts import Act, acts_of

LATELY = timedelta(minutes=15)
MOST_ACTS = 20


def standings(consumers: Collection[Consumer] | None = None, *, kafka: bool | None = None) -> list[Standing]:
    """How these consumers stand, by name; all that are declared when left out.

    `kafka` is whether that answers, None where nobody knows. Raises OperationalError when a database is away,
    or does not answer in time.
    """
    found = [one for using, here in _by_database(consumers) for one in _standings(here, kafka, using=using)]
    return sorted(found, key=lambda standing: standing.consumer.name)


def _standings(consumers: list[Consumer], kafka: bool | None, *, using: str) -> Iterator[Standing]:
    names = [consumer.name for consumer in consumers]
    with one_look(using=using):
        found = lags(consumers, using=using)
        pauses = all_pauses(using=using)
        rebuilds = RebuildRequest.objects.using(using).in_bulk(names)
        points = _lately(names, now=found[0].at, using=using)
    for lag in found:
        name = lag.consumer.name
        line = curve(points[name], now=lag.at, window=LATELY, limit=lag.sync_delay_limit)
        yield Standing(lag, pauses.get(name), line, rebuilds.get(name), kafka)


def asides(consumers: Collection[Consumer] | None = None) -> dict[str, Aside]:
    """What these consumers have set aside, by name; all when left out. Raises as `standings` does."""
    found: dict[str, Aside] = {}
    for using, here in _by_database(consumers):
        with one_look(using=using):
            counted = standing_aside(using=using)
        for consumer in here:
            parked, dead = counted.get(consumer.name, (Bounded(0), Bounded(0)))
            found[consumer.name] = Aside(dead, parked)
    return found


def asides_if_known(consumers: Collection[Consumer] | None = None) -> dict[str, Aside]:
    """The same; nothing where the database takes too long to count, so that a page shows all else."""
    found = Patience[None]().ask(None, lambda: asides(consumers))
    return {} if isinstance(found, TooSlow) else found


def _by_database(consumers: Collection[Consumer] | None) -> Iterable[tuple[str, list[Consumer]]]:
    """These, or all, by the alias of their database."""
    found: dict[str, list[Consumer]] = defaultdict(list)
    for consumer in all_consumers() if consumers is None else consumers:
        found[consumer.using].append(consumer)
    return found.items()


def _lately(names: list[str], *, now: datetime, using: str) -> dict[str, list[tuple[datetime, float | None]]]:
    """The lag of each in seconds, from its samples; None where it was not known."""
    found: dict[str, list[tuple[datetime, float | None]]] = defaultdict(list)
    samples = LagSample.objects.using(using).filter(consumer__in=names, at__gt=now - LATELY)
    for name, at, seconds in samples.order_by("at").values_list("consumer", "at", "seconds"):
        found[name].append((at, seconds))
    return found


def generations(consumer: Consumer) -> list[Generation]:
    """Every building of a projection that there is anything of, the latest first."""
    return list(
        Generation.objects.using(consumer.using).filter(consumer=consumer.name).order_by("-generation")
    )


def latest_acts(consumer: Consumer) -> list[Act]:
    """What operators did to it as a whole, the latest first."""
    return list(acts_of(consumer.name, using=consumer.using).order_by("-id")[:MOST_ACTS])
