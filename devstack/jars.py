"""Jars: where they are kept, fetched from, and that they are the ones the lock file names."""

import fcntl
import hashlib
import os
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import certifi
import httpx

from devstack.errors import ChecksumMismatch, DownloadFailed, FolderNotUsable
from devstack.lockfile import LOCK_FILE, Jar, read_lock
from devstack.progress import Progress, Step

REPOSITORY_VARIABLE = "DEVSTACK_MAVEN_REPOSITORY"
THREADS = 8
ATTEMPTS = 3
# Of silence: a start that is given up may have to wait for it.
TIMEOUT = 8.0


def repository() -> str:
    """The base address jars are fetched from: the environment's, else the one jgo knows."""
    if chosen := os.environ.get(REPOSITORY_VARIABLE, ""):
        return chosen.rstrip("/")
    from jgo.constants import MAVEN_CENTRAL_URL  # only a first run needs it

    return str(MAVEN_CENTRAL_URL).rstrip("/")


class JarCache:
    """A folder of jars that several stacks may share: files appear whole, and only with the right content.

    What is there is verified at every start (20 ms for Kafka): a broken or replaced file is fetched again.
    """

    def __init__(self, folder: Path, *, lock: Path = LOCK_FILE, of: str = "Apache Kafka") -> None:
        self.folder = folder
        self.of = of
        self.jars = read_lock(lock)

    @property
    def paths(self) -> list[Path]:
        return [self.folder / jar.file for jar in self.jars]

    def missing(self) -> list[Jar]:
        """The jars that are absent or differ from the lock file."""
        with ThreadPoolExecutor(THREADS) as pool:
            sound = list(pool.map(self._is_sound, self.jars))
        return [jar for jar, found in zip(self.jars, sound, strict=True) if not found]

    def ensure(self, progress: Progress) -> None:
        """Fetch what is missing, several at a time. Raises DownloadFailed or ChecksumMismatch.

        What arrived sound is kept: the next start asks only for the rest.
        """
        if not self.missing():
            return
        with self.exclusive():
            # Asked again: while we waited, another stack may have fetched them.
            if missing := self.missing():
                self._fetch_all(missing, progress)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One writer at a time among all stacks that share the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("a")
        except OSError as error:
            raise FolderNotUsable(f"The jar folder {self.folder} cannot be written: {error}") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _fetch_all(self, jars: list[Jar], progress: Progress) -> None:
        counter = _Counter(progress, of=self.of, total=sum(jar.size for jar in jars))
        base = repository()
        # The machine's own authorities (a company's proxy may be one) beside those of httpx.
        trust = ssl.create_default_context()
        trust.load_verify_locations(certifi.where())
        with (
            httpx.Client(verify=trust, follow_redirects=True, timeout=TIMEOUT) as client,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            futures = [pool.submit(self._fetch, client, base, jar, counter) for jar in jars]
            done, pending = wait(futures, return_when=FIRST_EXCEPTION)
            for future in pending:
                future.cancel()
            for future in done:
                future.result()

    def _is_sound(self, jar: Jar) -> bool:
        path = self.folder / jar.file
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
        except FileNotFoundError:
            return False
        except OSError as error:
            raise FolderNotUsable(f"The jar {path} cannot be read: {error}") from error

    def _fetch(self, client: httpx.Client, base: str, jar: Jar, counter: "_Counter") -> None:
        for attempt in range(1, ATTEMPTS + 1):
            counter.add(0)
            try:
                with client.stream("GET", f"{base}/{jar.path}") as response:
                    response.raise_for_status()
                    self._store(jar, response.iter_bytes(), counter)
                return
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
                if refused or isinstance(error, httpx.InvalidURL) or attempt == ATTEMPTS:
                    raise DownloadFailed(
                        f"{jar.file} could not be fetched from {base}: {str(error) or type(error).__name__}. "
                        "Is this machine online? A proxy is taken from HTTPS_PROXY, another repository from "
                        f"{REPOSITORY_VARIABLE}."
                    ) from error

    def _store(self, jar: Jar, chunks: Iterator[bytes], counter: "_Counter") -> None:
        partial = self.folder / f".{jar.file}.part"
        digest = hashlib.sha256()
        received = 0
        try:
            with partial.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                    received += len(chunk)
                    counter.add(len(chunk))
            if digest.hexdigest() != jar.sha256:
                raise ChecksumMismatch(jar.file, expected=jar.sha256, found=digest.hexdigest())
            partial.replace(self.folder / jar.file)
        except OSError as error:
            raise FolderNotUsable(f"{jar.file} cannot be written in {self.folder}: {error}") from error
        except httpx.HTTPError:
            counter.add(-received)
            raise
        finally:
            partial.unlink(missing_ok=True)


class _Counter:
    """Adds up the bytes of all threads, and reports them."""

    def __init__(self, progress: Progress, *, of: str, total: int) -> None:
        self._progress = progress
        self._of = of
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._progress.report(Step(f"Fetching {self._of}", done=self._done, total=self._total))
