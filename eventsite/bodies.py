"""Request bodies, received whole before anything else is done for a request, and no larger than is of use.

Django would write a body of any size to a temporary file, whoever sends it, before it looks at the address.
"""

from typing import Any

from django.http import HttpResponse

from rest.parsers import LARGEST_BODY, BodyTooLarge
from rest.problems import plain_problem

API = "/api/"
# Of a form: those of the admin list what was chosen, row by row.
LARGEST_FORM = 1024 * 1024


class TooLarge(Exception):
    """The body has more bytes than any request needs."""


class Disconnected(Exception):
    """The client left before it had sent its body."""


async def read_body(scope: Any, receive: Any) -> bytes:
    """The whole body. Raises TooLarge, before the first byte if Content-Length says so, and Disconnected.

    Of what is too large nothing more than the limit is ever kept.
    """
    largest = LARGEST_BODY if scope["path"].startswith(API) else LARGEST_FORM
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > largest:
            raise TooLarge()
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected()
        body += message.get("body", b"")
        if len(body) > largest:
            raise TooLarge()
        if not message.get("more_body", False):
            return bytes(body)


def with_length(scope: Any, body: bytes) -> Any:
    """The scope, with the length of what was received.

    A chunked body comes without one, and would pass for none at all: the command would be carried out as if
    nothing had been said.
    """
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    if body or len(headers) < len(scope["headers"]):
        headers.append((b"content-length", str(len(body)).encode()))
    return {**scope, "headers": headers}


def too_large(scope: Any) -> HttpResponse:
    """The 413, in the words of the part of the site that was asked."""
    if scope["path"].startswith(API):
        refusal = BodyTooLarge()
        answer = plain_problem(refusal.status_code, code=refusal.default_code, detail=refusal.default_detail)
    else:
        answer = HttpResponse("The form is too large.\n", status=413, content_type="text/plain")
    answer["Content-Length"] = str(len(answer.content))
    return answer
