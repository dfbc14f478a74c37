"""A whole load: send, then follow every event to its end, with a bar for each."""

from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.clients import Clients
from demo.load import check, fire
from demo.report import Report
from demo.tracing import trace


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says: payments a second, for how many seconds, and where to."""

    url: str
    token: str
    rate: float
    seconds: float
    deadline: float


async def generate(options: Options) -> Report:
    """Load the site. Raises LoadRefused when it is away or does not know the token."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with Clients(url=options.url, token=options.token) as clients:
        await check(clients)
        # Drawn seldom: the drawing thread takes turns with the loop that keeps the schedule.
        with Progress(*columns, refresh_per_second=4) as bars:
            sending = bars.add_task("answered", total=round(options.rate * options.seconds))
            shots = await fire(
                clients,
                rate=options.rate,
                seconds=options.seconds,
                progress=lambda count: bars.update(sending, completed=count),
            )
            following = bars.add_task("processed", total=sum(shot.event_id is not None for shot in shots))
            await trace(clients, shots, deadline=options.deadline, progress=lambda: bars.advance(following))
    return Report.of(shots)
