"""Every error of the demo. A class's first line says what happened; messages say what to do."""


class DemoError(Exception):
    """The base of the demo's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class PortInUse(DemoError):
    """Another program listens on the port asked for: end it, or leave --port out and a free one is found."""


class SetUpFailed(DemoError):
    """The database, the topics or the users could not be set up; the lines above say why."""


class NotReady(DemoError):
    """The demo's processes run, but did not become ready in time; their lines above say why."""


class NoDemo(DemoError):
    """No demo runs here: start one with `make demo`, or name another site with --url and --token."""


class LoadRefused(DemoError):
    """The site does not answer, or does not know the token."""
