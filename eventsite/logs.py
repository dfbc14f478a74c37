"""Logging: every entry is one line on stderr, JSON for machines or short text for people."""

import logging
import os
import re
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from outbox.context import current_cause, current_consumer

TASK_LOGGERS = ("celery.beat", "celery.worker.strategy", "celery.worker.request", "celery.app.trace")

_COLOURS = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}
_FIGURES = re.compile(r"\d+")
_SHOWN = {"event", "level", "logger", "timestamp", "exception"}


def logging_settings(*, style: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. `style` is "json" or "text"; entries below `level` are dropped."""
    if style not in {"json", "text"}:
        raise ValueError(f"LOG_FORMAT is json or text, not {style!r}.")
    renderers: list[Processor] = (
        [add_context, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if style == "json"
        else [TextRenderer(colours=_wants_colours())]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "entries": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.add_logger_name,
                    structlog.stdlib.ExtraAdder(),
                    drop_repetition,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    add_correlation,
                ],
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            }
        },
        "filters": {"seldom": {"()": Seldom, "seconds": 5.0}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "entries"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Uvicorn and Django bring handlers of their own, which would print a second time.
            **{name: {"handlers": [], "propagate": True} for name in ("django", "uvicorn")},
            "django.server": {"handlers": [], "propagate": True},
            # With Kafka away every client says so many times a second.
            "outbox.librdkafka": {"filters": ["seldom"]},
            # Every request, served or made, is not worth a line.
            "uvicorn.access": {"handlers": [], "propagate": True, "level": "WARNING"},
            "httpx": {"level": "WARNING"},
            # Neither is every run of a task: some are due every second. Tasks say what they have done.
            **{name: {"level": "WARNING"} for name in TASK_LOGGERS},
        },
    }


def add_correlation(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Name the story an entry belongs to, so that it can be followed across processes."""
    correlation = current_cause().correlation_id
    if correlation is not None:
        entry.setdefault("correlation_id", str(correlation))
    return entry


def add_context(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Name the event being handled, its key and its consumer, and the span that this happened in."""
    cause = current_cause()
    about = {"consumer": current_consumer(), "event_id": cause.causation_id, "key": cause.key}
    if cause.traceparent is not None:
        _, about["trace_id"], about["span_id"], _ = cause.traceparent.split("-")
    for name, value in about.items():
        if value is not None:
            entry.setdefault(name, str(value))
    return entry


def drop_repetition(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Drop what uvicorn and Celery say a second time, for formatters of their own."""
    if str(entry["logger"]).startswith(("uvicorn.", "celery.")):
        entry.pop("color_message", None)
        entry.pop("data", None)
    return entry


class Seldom(logging.Filter):
    """Lets one of many entries that differ in their figures alone through per so many seconds."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[tuple[int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is the first of its kind for a while."""
        kind = (record.levelno, _FIGURES.sub("", record.getMessage()))
        if record.created - self._last.get(kind, 0.0) < self._seconds:
            return False
        self._last[kind] = record.created
        return True


class TextRenderer:
    """`12:34:56.789 warning outbox.relay: waiting correlation_id=…`, then the traceback if there is one.

    Line breaks inside an entry are shown as \\n: text from outside cannot pose as an entry of its own.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: WrappedLogger, __: str, entry: EventDict) -> str:
        """One entry as text."""
        error = entry.pop("exc_info", None)
        level = str(entry["level"])
        extra = "".join(f" {name}={_one_line(value)}" for name, value in entry.items() if name not in _SHOWN)
        event = _one_line(entry["event"])
        head = f"{str(entry['timestamp'])[11:23]} {level:<7} {entry['logger']}: {event}{extra}"
        if self._colours and level in _COLOURS:
            head = f"\x1b[{_COLOURS[level]}m{head}\x1b[0m"
        return head + _indented(error)


def _one_line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


def _indented(error: ExcInfo | bool | None) -> str:
    if isinstance(error, bool) or not error:
        return ""
    lines = "".join(traceback.format_exception(*error)).splitlines()
    return "".join(f"\n    {line}" for line in lines)


def _wants_colours() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stderr.isatty()


logging.captureWarnings(True)
