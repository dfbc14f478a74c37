"""`python -m devstack run --folder FOLDER`: a stack in the foreground, for work on the project."""

import argparse
import shlex
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from devstack.errors import DevstackError
from devstack.progress import Step
from devstack.stack import Stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="start PostgreSQL and Kafka, print how to reach them, stop on Ctrl-C"
    )
    run.add_argument(
        "--folder", type=Path, default=Path(".devstack"), help="where data is kept (default: %(default)s)"
    )
    run.add_argument(
        "--jars", type=Path, default=None, help="where Kafka's jars are kept (default: FOLDER/jars)"
    )
    arguments = parser.parse_args()
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        with Stack(arguments.folder, jars=arguments.jars, environ={}, progress=_show) as stack:
            for name, value in stack.environment().items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            ended.wait()
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _show(step: Step) -> None:
    if not step.total or step.done >= step.total:
        sys.stderr.write(f"{step.text}\n")


if __name__ == "__main__":
    sys.exit(main())
