"""Reading pages, one ahead of what is being sent."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connections

from outbox.lease import check_primary
from outbox.window import Cursor, WindowPage, read_page


class PageReader:
    """Reads pages of windows. What follows a page is read by a thread of its own while that one is sent.

    A window does not change: what was read ahead is what would be read later.
    """

    def __init__(self, *, size: int, using: str) -> None:
        self._size = size
        self._using = using
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="outbox-relay-reader")
        self._ahead: dict[tuple[Cursor, tuple[int, ...]], Future[WindowPage]] = {}

    def __enter__(self) -> "PageReader":
        """Raises StandbyDatabase: where an address leads may differ from one connection to the next."""
        try:
            self._threads.submit(check_primary, using=self._using).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.submit(lambda: connections[self._using].close())
        self._threads.shutdown(cancel_futures=False)

    def read(self, cursor: Cursor, shards: list[int], *, limit: int, following: int) -> WindowPage:
        """The next page; the one after it will have up to `following` records."""
        ahead = self._ahead.pop((cursor, tuple(shards)), None)
        page = self._page(cursor, shards, limit) if ahead is None else ahead.result()
        if not page.last:
            after = cursor.after(page)
            reading = self._threads.submit(self._page, after, shards, following)
            self._ahead[after, tuple(shards)] = reading
        return page

    def forget_all_but(self, positions: Mapping[Cursor, list[int]]) -> None:
        """Of what was read ahead only these windows will go on."""
        wanted = {(cursor, tuple(shards)) for cursor, shards in positions.items()}
        for position in self._ahead.keys() - wanted:
            self._ahead.pop(position).cancel()

    def _page(self, cursor: Cursor, shards: list[int], limit: int) -> WindowPage:
        return read_page(cursor, shards=shards, limit=limit, size=self._size, using=self._using)
