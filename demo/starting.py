"""Shows what the start of the servers is doing: bars in a terminal, lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn

from demo.output import Output
from devstack.progress import Listener, Step


@contextmanager
def shown(output: Output, console: Console) -> Iterator[Listener]:
    """A listener for the stack's start. Steps come from several threads."""
    if not console.is_terminal:
        yield Lines(output)
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
    )
    with bars:
        yield Bars(output, bars)


class Lines:
    """Each step once; of a download its beginning."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._seen: set[str] = set()
        self._lock = Lock()

    def __call__(self, step: Step) -> None:
        """Show a step that is new."""
        with self._lock:
            if step.text in self._seen:
                return
            self._seen.add(step.text)
            size = f" ({step.total / 1e6:.0f} MB)" if step.total else ""
            self._output.say(f"{step.text}{size}")


class Bars:
    """Each step once, and a bar below them while something is fetched."""

    def __init__(self, output: Output, bars: Progress) -> None:
        self._lines = Lines(output)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lock = Lock()

    def __call__(self, step: Step) -> None:
        """Show a step that is new, or how far one has come."""
        self._lines(step)
        if not step.total:
            return
        with self._lock:
            task = self._tasks.get(step.text)
            if task is None:
                task = self._tasks[step.text] = self._bars.add_task(step.text, total=step.total)
            self._bars.update(task, completed=step.done)
            if step.done >= step.total:
                self._bars.update(task, visible=False)
