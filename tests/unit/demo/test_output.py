"""One terminal for many processes."""

import asyncio
import io

import pytest

from demo.output import Output


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)


async def followed(*chunks: bytes) -> str:
    stream = io.StringIO()
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    await Output(stream).follow(reader, name="relay-1")
    return stream.getvalue()


async def test_each_line_bears_its_process() -> None:
    assert await followed(b"one\ntw", b"o\r\n\nthree") == (
        "relay-1   | one\nrelay-1   | two\nrelay-1   | \nrelay-1   | three\n"
    )


async def test_a_line_may_be_long_and_need_not_be_text() -> None:
    long = b"x" * 300_000
    assert await followed(long + b"\n\xff\n") == f"relay-1   | {long.decode()}\nrelay-1   | �\n"


def test_names_are_coloured_where_colours_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    output = Output(stream)
    output.say("a", name="relay-1")
    output.say("b", name="orders-1")
    first, second = stream.getvalue().splitlines()
    assert first.startswith("\x1b[36mrelay-1 ")
    assert second.startswith("\x1b[35morders-1 ")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Output(stream).coloured


def test_a_terminal_that_goes_away_ends_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    output = Output(Gone())
    output.say("one")
    output.say("two")


def test_a_character_that_the_terminal_lacks_is_shown_all_the_same() -> None:
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding="ascii")
    Output(terminal).say("café")
    assert raw.getvalue() == b"demo      | caf\\xe9\n"
