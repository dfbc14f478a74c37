"""Totals of closed slots, as the topic `payment-volumes` says them."""

import logging

from analytics.slots import EARLIEST, LATEST, WIDTHS, floor
from contracts.analytics import SlotTotalled
from contracts.money import DECIMALS, LARGEST_AMOUNT_MINOR
from contracts.topics import PAYMENT_VOLUMES
from outbox.config import config
from outbox.errors import ContractViolation
from outbox.kafka import Record, TailReader

logger = logging.getLogger(__name__)

MOST_RECORDS = 2_000
LAST_TOTALS = 64
PATIENCE = 0.5
LARGEST_COUNT = 2**63 - 1


class TotalsProbe:
    """Reads what was appended to the topic since the last look."""

    topics: tuple[str, ...] = (PAYMENT_VOLUMES.name,)

    def __init__(self) -> None:
        self._reader: TailReader | None = None

    def measure(self) -> list[SlotTotalled]:
        """The totals in their order. Raises BrokerError when Kafka does not answer."""
        if self._reader is None:
            self._reader = TailReader(config().kafka, topics=self.topics, last=LAST_TOTALS)
        records = self._reader.poll(limit=MOST_RECORDS, timeout=PATIENCE)
        return [total for total in map(total_in, records) if total is not None]

    def close(self) -> None:
        """Let go of the reader."""
        if self._reader is not None:
            self._reader.close()


def total_in(record: Record) -> SlotTotalled | None:
    """What a record says. None, and a line in the log, for what nobody here could have written."""
    problem = "it is of another type"
    if dict(record.headers).get("ce_type") == SlotTotalled.type.encode() and record.value is not None:
        try:
            total = SlotTotalled.from_json(record.value)
        except ContractViolation as error:
            problem = str(error)
        else:
            problem = _problem_of(total) if isinstance(total, SlotTotalled) else problem
            if isinstance(total, SlotTotalled) and not problem:
                return total
    logger.warning(
        "passed over a record of %s, partition %d, offset %d: %s",
        record.topic,
        record.partition,
        record.offset,
        problem,
    )
    return None


def _problem_of(total: SlotTotalled) -> str:
    """What is impossible about a total; nothing for one that can be shown."""
    if total.currency not in DECIMALS:
        return f"no currency {total.currency} is known"
    start = total.slot_start
    # Compared first: arithmetic with the years 1 and 9999 leaves what a datetime can hold.
    if not start.tzinfo or not EARLIEST <= start < LATEST:
        return f"no slot begins at {start.isoformat()}"
    if floor(start, WIDTHS[total.slot]) != start:
        return f"no slot of {total.slot} begins at {start.isoformat()}"
    for each in total.totals:
        if each.count > LARGEST_COUNT or each.amount_minor > each.count * LARGEST_AMOUNT_MINOR:
            return f"so much cannot have come to {each.status}"
    return ""
