"""Which failures are taken for one."""

import json
from collections.abc import Callable

import pytest

from outbox.aside import fingerprint
from outbox.errors import MalformedRecord


def one_handler(data: str) -> None:
    json.loads(data)


def another_handler(data: str) -> None:
    json.loads(data)


def of(call: Callable[[str], None], data: str) -> str:
    with pytest.raises(ValueError, match="JSON|Expecting|Extra") as caught:
        call(data)
    return fingerprint(caught.value)


def test_what_fails_in_a_library_is_of_the_function_that_called_it() -> None:
    assert of(one_handler, "?") == of(one_handler, "{} and more")
    assert of(one_handler, "?") != of(another_handler, "?")


def test_of_one_function_errors_of_two_types_are_two() -> None:
    def fails(kind: type[Exception]) -> str:
        try:
            raise kind
        except Exception as error:  # noqa: BLE001
            return fingerprint(error)

    assert fails(KeyError) == fails(KeyError) != fails(TypeError)


def test_an_error_that_was_never_raised_has_one_too() -> None:
    assert fingerprint(MalformedRecord("no envelope")) == fingerprint(MalformedRecord("another"))
