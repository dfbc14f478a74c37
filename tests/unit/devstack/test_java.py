"""The cache for fast starts. A small program stands in for Kafka, and writes it at its end as Java does."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from devstack.errors import ServerFailed
from devstack.jars import JarCache
from devstack.java import CACHES_KEPT, Java
from devstack.lockfile import Jar
from devstack.process import ServerProcess
from devstack.progress import Progress

WRITER = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
signal.sigwait([signal.SIGTERM])
open(sys.argv[1].partition("=")[2], "w").write("cache")
"""
FAILING = "raise SystemExit('no Kafka today')"


class Trainer:
    """Trains, and counts the servers that had to be started for it."""

    def __init__(self, folder: Path, code: str = WRITER) -> None:
        self.folder = folder
        self.code = code
        self.starts = 0
        lock = folder / "lock.txt"
        content = b"a jar"
        jar = Jar(coordinate="g:a:1", file="a.jar", size=5, sha256=hashlib.sha256(content).hexdigest())
        lock.write_text(f"{jar}\n")
        self.jars = JarCache(folder / "jars", lock=lock)
        self.jars.folder.mkdir(exist_ok=True)
        self.jar = self.jars.folder / "a.jar"
        if not self.jar.exists():
            self.jar.write_bytes(content)
        self.java = Java(self.jars)

    def train(self) -> None:
        log = self.folder / "server.log"
        log.unlink(missing_ok=True)

        def spawn(flags: tuple[str, ...]) -> ServerProcess:
            self.starts += 1
            process = ServerProcess("Kafka", log=log)
            process.spawn(
                [sys.executable, "-c", self.code, *flags], env={"PATH": os.environ["PATH"]}, cwd=self.folder
            )
            return process

        self.java.train(spawn, ready=lambda: "ready" in log.read_text(), progress=Progress())


def test_cache_is_made_once_and_used_by_all_who_share_the_jars(tmp_path: Path) -> None:
    first, second = Trainer(tmp_path), Trainer(tmp_path)
    first.train()
    first.train()
    second.train()

    assert (first.starts, second.starts) == (1, 0)
    assert first.java.fast_start == second.java.fast_start
    assert first.java.fast_start[0].startswith(f"-XX:AOTCache={tmp_path}")


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    """Java does not notice: it crashes."""
    Trainer(tmp_path).train()
    (cache,) = caches(tmp_path)
    cache.write_text("CACHE")

    again = Trainer(tmp_path)
    again.train()

    assert again.starts == 1
    assert cache.read_text() == "cache"


def test_cache_of_other_jars_is_not_used_and_the_oldest_are_removed(tmp_path: Path) -> None:
    first = caches_after_touching_the_jar(tmp_path, when=1)
    for when in range(2, 3 + CACHES_KEPT):
        newest = caches_after_touching_the_jar(tmp_path, when=when)

    assert len(newest) == CACHES_KEPT
    assert first.isdisjoint(newest)


def caches_after_touching_the_jar(folder: Path, *, when: int) -> set[Path]:
    trainer = Trainer(folder)
    os.utime(trainer.jar, (when, when))
    trainer.train()
    assert trainer.starts == 1
    return caches(folder)


def caches(folder: Path) -> set[Path]:
    return set((folder / "jars").glob("kafka-*.aot"))


def test_training_that_fails_says_so_and_leaves_nothing_to_use(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, FAILING)

    with pytest.raises(ServerFailed, match="no Kafka today"):
        trainer.train()

    assert trainer.java.fast_start == ()
    assert list((tmp_path / "jars").glob("*.aot")) == []
