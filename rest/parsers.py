"""Reading request bodies."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

LARGEST_BODY = 256 * 1024


class BodyTooLarge(APIException):
    """The body is larger than any command needs to be."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = f"A body may have {LARGEST_BODY:,} bytes."
    default_code = "body_too_large"


class BoundedJSONParser(JSONParser):
    """JSON of up to LARGEST_BODY bytes, of any shape: a body nested a thousand deep is refused, not fatal.

    So is a name that is given twice in one object: which of two amounts was meant is anyone's guess.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The Python value. Raises ParseError, BodyTooLarge."""
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge()
        try:
            return json.loads(body.decode(), parse_constant=strict_constant, object_pairs_hook=_object)
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error
        except RecursionError:
            raise ParseError("JSON parse error - it is nested too deeply.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!a} is given twice")
    return value
