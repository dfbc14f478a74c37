"""Something that is read once for however many watch: begun by the first viewer, ended with the last."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

K = TypeVar("K")
M = TypeVar("M")


class Watched(ABC, Generic[K, M]):
    """Publishes moments while anyone watches; nothing runs while nobody does.

    Viewers say what they watch for (K), so that `_run` reads that and no more. Moments are compared by
    identity. One that is slow misses moments: it is given the latest.
    """

    name: str

    def __init__(self) -> None:
        self._viewers: Counter[K] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._published = asyncio.Event()
        self._latest: M | None = None
        self._closed = False

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return self._viewers.total()

    @property
    def running(self) -> bool:
        """Whether anything is being read."""
        return self._task is not None

    def close(self) -> None:
        """Let every viewer go, and those who still come: the process is about to end."""
        self._closed = True
        self._published.set()

    async def watch(self, wanted: K) -> AsyncGenerator[M, None]:
        """Every moment from now on, the current one first. Raises what went wrong in the reading.

        Close the iterator (or cancel its reader) to stop watching.
        """
        self._viewers[wanted] += 1
        if self._task is None:
            # The last task may have ended by a mistake, and left its event set: nobody could wait for it.
            self._published = asyncio.Event()
            self._task = asyncio.create_task(self._run(), name=self.name)
            self._task.add_done_callback(self._ended)
        try:
            seen = None
            while not self._closed:
                published, latest = self._published, self._latest
                if latest is not None and latest is not seen:
                    seen = latest
                    yield latest
                else:
                    await published.wait()
                if self._task is not None and self._task.done():
                    self._task.result()
                    return
        finally:
            self._viewers[wanted] -= 1
            if not self._viewers[wanted]:
                del self._viewers[wanted]
            if not self._viewers:
                self._stop()

    @abstractmethod
    async def _run(self) -> None:
        """Read again and again, and publish what was read. Cancelled when nobody watches any more."""

    def _publish(self, moment: M) -> None:
        self._latest = moment
        published, self._published = self._published, asyncio.Event()
        published.set()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = self._latest = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Whoever still watches must learn that nothing will come any more.
        if task is self._task:
            self._published.set()
