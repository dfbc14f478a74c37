"""A list of jars: coordinate, file, size and SHA-256 of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devstack.errors import LockFileInvalid

LOCK_FILE = Path(__file__).with_name("kafka.lock")
HEX_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class Jar:
    """One artefact: a line `group:artifact:version file size sha256`."""

    coordinate: str
    file: str
    size: int
    sha256: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line. The file's name becomes a path below the cache, and must not lead out of it."""
        try:
            coordinate, file, size, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jar = cls(coordinate=coordinate, file=file, size=int(size), sha256=sha256)
        except ValueError as error:
            raise LockFileInvalid(f"Not a line of a jar lock file: {line!r}") from error
        named = group and artifact and version and file.endswith(".jar") and Path(file).name == file
        measured = jar.size > 0 and len(sha256) == 64 and HEX_DIGITS.issuperset(sha256)
        if not (named and measured):
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
        raise LockFileInvalid(f"The list of jars cannot be read: {error}") from error
    jars = [Jar.parse(line) for line in lines if line.strip() and not line.startswith("#")]
    if not jars or len({jar.file for jar in jars}) != len(jars):
        raise LockFileInvalid(f"{path} is empty or names a file twice.")
    return jars
