"""Logging: one line an entry, whatever the message holds."""

import io
import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from eventsite.logs import Seldom, logging_settings
from outbox.context import Cause, caused_by, consuming, within

CORRELATION = UUID("0198c0de-0000-7000-8000-000000000001")


Log = Callable[[str], tuple[logging.Logger, io.StringIO]]


@pytest.fixture
def log() -> Iterator[Log]:
    """A logger whose entries go through the given format into a string."""
    logger = logging.getLogger("test.logs")

    def make(style: str) -> tuple[logging.Logger, io.StringIO]:
        settings = logging_settings(style=style, level="INFO")
        formatter = logging.config.DictConfigurator(settings).configure_formatter(
            settings["formatters"]["entries"]
        )
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel("INFO")
        return logger, stream

    yield make
    logger.handlers, logger.propagate = [], True


def test_text_cannot_be_forged(log: Log) -> None:
    logger, stream = log("text")
    logger.warning("refused: %s", "\n12:00:00.000 info    admin: all is well\x1b[2J", extra={"key": "a\rb"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(
        r"warning test.logs: refused: \n12:00:00.000 info    admin: all is well\x1b[2J key=a\rb"
    )


def test_text_shows_tracebacks_below_their_entry(
    log: Log,
) -> None:
    logger, stream = log("text")
    try:
        raise LookupError("no such thing")
    except LookupError:
        logger.exception("it failed")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("error   test.logs: it failed")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    LookupError: no such thing"


def test_json_holds_all_of_an_entry_in_one_line(
    log: Log,
) -> None:
    logger, stream = log("json")
    with caused_by(correlation_id=CORRELATION):
        try:
            raise LookupError("no\nsuch thing")
        except LookupError:
            logger.exception("it %s", "failed", extra={"topic": "payments"})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["logger"], entry["topic"]) == (
        "it failed",
        "error",
        "test.logs",
        "payments",
    )
    assert entry["correlation_id"] == str(CORRELATION)
    assert "LookupError: no\nsuch thing" in entry["exception"]


def test_json_names_the_event_its_key_its_consumer_and_its_span(log: Log) -> None:
    event_id, trace, span = UUID(int=7), "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    about = Cause(CORRELATION, event_id, f"00-{trace}-{span}-01", key="k-1")
    logger, stream = log("json")
    with consuming("orders"), within(about):
        logger.info("instantiated")
        logger.info("about another", extra={"event_id": "given"})
    logger.info("outside")
    inside, given, outside = map(json.loads, stream.getvalue().splitlines())
    names = ("consumer", "event_id", "key", "trace_id", "span_id", "correlation_id")
    assert [inside[name] for name in names] == [
        *("orders", str(event_id), "k-1", trace, span, str(CORRELATION)),
    ]
    assert given["event_id"] == "given"
    assert not set(names) & outside.keys()


def test_what_differs_in_figures_alone_is_said_seldom() -> None:
    seldom = Seldom(seconds=5.0)

    def passes(text: str, *, at: float) -> bool:
        record = logging.LogRecord("test", logging.ERROR, __file__, 1, text, None, None)
        record.created = at
        return seldom.filter(record)

    assert passes("refused (after 0ms)", at=100)
    assert not passes("refused (after 12ms)", at=104.9)
    assert passes("reset (after 12ms)", at=104.9)
    assert passes("refused (after 3ms)", at=105)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="json or text, not 'xml'"):
        logging_settings(style="xml", level="INFO")
