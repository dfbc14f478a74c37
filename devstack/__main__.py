"""Run PostgreSQL and Kafka in the foreground, for work on the project: `python -m devstack run`."""

import argparse
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

from devstack.errors import DevstackError
from devstack.progress import Step
from devstack.stack import Stack


def main() -> int:
    arguments = _parse()
    # SIGINT too: a shell starts what runs in the background with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    stack = Stack(arguments.folder, jars=arguments.jars, environ={}, progress=_show)
    try:
        stack.start()
        for name, value in stack.environment().items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.flush()
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except DevstackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stack.stop()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start both, print how to reach them, stop on Ctrl-C or SIGTERM")
    run.add_argument(
        "--folder", type=Path, default=Path(".devstack"), help="keeps the data (default: %(default)s)"
    )
    run.add_argument("--jars", type=Path, help="keeps Kafka's jars, may be shared (default: FOLDER/jars)")
    return parser.parse_args()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(step: Step) -> None:
    if step.done >= step.total:
        sys.stderr.write(f"{step.text}\n")


if __name__ == "__main__":
    sys.exit(main())
