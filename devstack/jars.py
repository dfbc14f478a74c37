"""Kafka's jars: which ones (the lock file), where they are kept, and that they are what they should be."""

import hashlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from devstack.errors import ChecksumMismatch, DownloadFailed, FolderNotUsable, LockFileInvalid
from devstack.progress import Report, Step

LOCK_FILE = Path(__file__).with_name("kafka.lock")
REPOSITORY_VARIABLE = "DEVSTACK_MAVEN_REPOSITORY"
THREADS = 8
ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Jar:
    """One artefact of the lock file: `group:artifact:version file size sha256`."""

    coordinate: str
    file: str
    size: int
    sha256: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line of the lock file.

        The file name is checked because it becomes a path below the cache.
        """
        try:
            coordinate, file, size, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jar = cls(coordinate=coordinate, file=file, size=int(size), sha256=sha256)
        except ValueError as error:
            raise LockFileInvalid(f"Not a line of a jar lock file: {line!r}") from error
        sound = group and artifact and version and jar.size > 0 and Path(file).name == file
        if not (
            sound and file.endswith(".jar") and len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
        ):
            raise LockFileInvalid(f"Not a line of a jar lock file: {line!r}")
        return jar

    def __str__(self) -> str:
        return f"{self.coordinate} {self.file} {self.size} {self.sha256}"

    @property
    def path(self) -> str:
        """Where every Maven repository keeps it, below its base address."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.file}"


def read_lock(path: Path = LOCK_FILE) -> list[Jar]:
    """The jars in class path order. A file named twice would hide one of two jars: refused."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LockFileInvalid(f"The list of Kafka's jars cannot be read: {error}") from error
    jars = [Jar.parse(line) for line in lines if line.strip() and not line.startswith("#")]
    if not jars or len({jar.file for jar in jars}) != len(jars):
        raise LockFileInvalid(f"{path} is empty or names a file twice")
    return jars


def repository() -> str:
    """The base address jars are fetched from: the environment's, else the one jgo knows."""
    if chosen := os.environ.get(REPOSITORY_VARIABLE, ""):
        return chosen.rstrip("/")
    from jgo.constants import MAVEN_CENTRAL_URL  # imported late: only a first run needs it

    return str(MAVEN_CENTRAL_URL).rstrip("/")


class JarCache:
    """A folder of jars that may be shared: files appear whole, and only with the right content.

    What is there is verified at every start (0.1 s for Kafka), so that a broken or replaced file is fetched again
    rather than run.
    """

    def __init__(self, folder: Path, *, lock: Path = LOCK_FILE) -> None:
        self.folder = folder
        self.jars = read_lock(lock)

    @property
    def digest(self) -> str:
        """Names this exact set of jars."""
        return hashlib.sha256("\n".join(map(str, self.jars)).encode()).hexdigest()[:16]

    def class_path(self) -> str:
        return os.pathsep.join(str(self.folder / jar.file) for jar in self.jars)

    def missing(self) -> list[Jar]:
        """The jars that are absent or differ from the lock file."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(self._is_sound, self.jars))
        return [jar for jar, sound in zip(self.jars, found, strict=True) if not sound]

    def ensure(self, report: Report) -> None:
        """Fetch what is missing, several at a time. Raises DownloadFailed or ChecksumMismatch, and keeps what is
        sound: the next start asks only for the rest."""
        missing = self.missing()
        if not missing:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderNotUsable(f"The jar folder {self.folder} cannot be made: {error}") from error
        counter = _Counter(report, total=sum(jar.size for jar in missing))
        base = repository()
        with (
            httpx.Client(verify=_trust(), follow_redirects=True, timeout=20) as client,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            futures = [pool.submit(self._fetch, client, base, jar, counter) for jar in missing]
            done, pending = wait(futures, return_when=FIRST_EXCEPTION)
            for future in pending:
                future.cancel()
            for future in done:
                future.result()

    def _is_sound(self, jar: Jar) -> bool:
        try:
            with (self.folder / jar.file).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
        except FileNotFoundError:
            return False
        except OSError as error:
            raise FolderNotUsable(f"The jar {self.folder / jar.file} cannot be read: {error}") from error

    def _fetch(self, client: httpx.Client, base: str, jar: Jar, counter: "_Counter") -> None:
        url = f"{base}/{jar.path}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with client.stream("GET", url) as response:
                    response.raise_for_status()
                    self._store(jar, response.iter_bytes(), counter)
                return
            except httpx.HTTPError as error:
                final = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
                if final or attempt == ATTEMPTS:
                    raise DownloadFailed(
                        f"{jar.file} could not be fetched from {base}: {error or type(error).__name__}. Is this "
                        "machine online? A proxy is taken from HTTPS_PROXY, another repository from "
                        f"{REPOSITORY_VARIABLE}."
                    ) from error

    def _store(self, jar: Jar, chunks: Iterator[bytes], counter: "_Counter") -> None:
        # A name of its own per writer: two stacks may fill one cache at the same time.
        partial = self.folder / f".{jar.file}.{os.getpid()}"
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

    def __init__(self, report: Report, *, total: int) -> None:
        self._report: Callable[[Step], None] = report
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._report(Step("Fetching Apache Kafka", done=self._done, total=self._total))


def _trust() -> ssl.SSLContext:
    """Whom to trust: as the machine does (SSL_CERT_FILE, its own store), else as httpx does."""
    context = ssl.create_default_context()
    if not context.get_ca_certs() and not os.environ.get("SSL_CERT_DIR"):
        context.load_verify_locations(cafile=_bundled_authorities())
    return context


def _bundled_authorities() -> str:
    import certifi  # comes with httpx

    return certifi.where()
