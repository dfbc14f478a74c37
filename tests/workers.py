"""A pytest plugin: several processes share the tests (`pytest -n auto`), each with servers of its own.

What shares an expensive fixture stays together, and what takes longest comes first: nobody waits for it
at the end.
"""

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# One site serves a whole folder; and demos that start at the same moment would choose the same ports.
TOGETHER = {
    "demos": ("tests/acceptance/demo/", "tests/acceptance/test_resilience.py", "tests/browser/test_tour.py"),
    "browser": ("tests/browser/",),
}
SLOW = ("tests/acceptance/", "tests/browser/", "tests/integration/rest/test_fuzz")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many a test waits, for a lease to end or a server to start.

    No more than 6: each has servers of its own, and the longest tests are not that many.
    """
    return min((os.cpu_count() or 1) + 1, 6)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After pytest-django has put them into an order of its own, which each file keeps."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling":
    """Hands out files, and what belongs together, in the order in which they were collected."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            together = (name for name, paths in TOGETHER.items() if nodeid.startswith(paths))
            return next(together, nodeid.partition("::")[0])

    config.option.loadscopereorder = False
    return ByFile(config, log)
