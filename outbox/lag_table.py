"""A consumer's lag as lines of text, for a terminal."""

from collections.abc import Collection, Iterator

from outbox.lag import Lag, PartitionLag
from outbox.members import Instance

_MOMENT = "%Y-%m-%d %H:%M:%S %Z"
_COLUMNS = "{:<24}{:>12}{:>12}{:>10}{:>10}{:>10}  {}"


def shown(lag: Lag) -> Iterator[str]:
    """The whole, then a line for each partition, then the members that are silent, or idle."""
    limit = f"its limit is {lag.sync_delay_limit:g} s"
    events = "not known how many" if lag.events is None else f"{lag.events:,}"
    seconds = "not known how old" if lag.seconds is None else f"{lag.seconds:.1f} s"
    yield f"lag: {events} events, {seconds} ({limit}); {_rates(lag)}"
    for alarm in lag.alarms:
        unknown = f", not known since {alarm.unknown_since:{_MOMENT}}" if alarm.unknown_since else ""
        yield f"ALARM: {alarm.cause.label.lower()} since {alarm.since:{_MOMENT}}{unknown}"
    yield _COLUMNS.format("partition", "offset", "end", "events", "seconds", "delay", "read by")
    for part in lag.partitions:
        yield _line(part, silent={member.name for member in lag.members if member.silent})
    for member in lag.members:
        if member.silent:
            yield f"{member.name} has said nothing for {member.quiet:.0f} s"
        elif member.idle:
            yield _idle(member, lag)
    if not lag.members:
        yield "no instance runs"


def _rates(lag: Lag) -> str:
    if lag.rates is None:
        return "rates are not known yet"
    rates = f"{lag.rates.into:.1f} events/s come in, {lag.rates.out:.1f} are processed"
    if not lag.events:
        return rates
    if lag.keeps_up:
        return f"{rates}, it keeps up"
    seconds = lag.catch_up_seconds
    return f"{rates}, " + ("it does not catch up" if seconds is None else f"caught up in {seconds:.0f} s")


def _line(part: PartitionLag, *, silent: Collection[str]) -> str:
    return _COLUMNS.format(
        f"{part.topic}/{part.partition}",
        "-" if part.reached is None else part.reached,
        "-" if part.end is None else part.end,
        "-" if part.events is None else part.events,
        "-" if part.seconds is None else f"{part.seconds:.1f}",
        "-" if part.delay is None else f"{part.delay:.3f}",
        f"{part.member or 'nobody'}{', silent' if part.member in silent else ''}",
    )


def _idle(member: Instance, lag: Lag) -> str:
    if lag.silent_readers:
        shared_out = "partitions of a silent one are shared out within seconds, unless it speaks again"
        return f"{member.name} is idle: {shared_out}"
    return f"{member.name} is idle: there is no partition left for it"
