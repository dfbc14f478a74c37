"""Commands that a client may send again: one line above a view's method.

    class PaymentList(generics.ListAPIView[Payment]):
        @extend_schema(...)
        @idempotent
        def post(self, request: Request) -> Response: ...

A request with the header `Idempotency-Key: …` (1 to 255 visible ASCII characters, chosen by the client) is
carried out once for each user and key:

- The same request again, however late or at the same time, answers the first answer again, to the byte, with
  the header `Idempotent-Replayed: true`. The same means method, path and body as JSON, whatever its spacing
  and the order of its names.
- Another request under the same key is refused: 422, `idempotency_key_reused`.
- While the first is under way its twins wait for its answer, for PATIENCE at most: then 409,
  `idempotency_key_in_use`. If it fails or dies instead, one of the twins is carried out.

The key is claimed, the command carried out and its answer kept in one transaction: what a request that died
left behind is nothing, and no answer is kept of a change that was not made. The command's own
`transaction.atomic()` is a savepoint in it. A refusal (4xx) is kept as well, its changes rolled back. Not
kept is what may be answered otherwise next time, nothing having been done: NOT_KEPT and every 5xx.

Kept answers are pruned after KEPT_FOR (`rest.tasks`).
"""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from hashlib import sha256
from http import HTTPStatus
from typing import Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from psycopg.errors import LockNotAvailable
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from rest.models import LONGEST_KEY, KeptAnswer
from rest.problems import Conflict

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT_FOR = timedelta(days=7)
# How long a twin holds a thread and a connection, waiting for the first one's transaction to end.
PATIENCE = timedelta(seconds=5)
NOT_KEPT = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

V = TypeVar("V", bound=APIView)
P = ParamSpec("P")


class KeyReused(APIException):
    """This Idempotency-Key was used for another request."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_detail = "This Idempotency-Key was used for another request: take a new key for a new command."
    default_code = "idempotency_key_reused"


class KeyInUse(Conflict):
    """The first request with this Idempotency-Key is still under way."""

    default_detail = "The first request with this Idempotency-Key is still under way; ask again."
    default_code = "idempotency_key_in_use"
    wait = 1


def idempotent(
    command: Callable[Concatenate[V, Request, P], Response],
) -> Callable[Concatenate[V, Request, P], HttpResponseBase]:
    """Carry the command out once for each user and Idempotency-Key; without the header, as it is."""

    @wraps(command)
    def answer(view: V, request: Request, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        key, user_id = _key_of(request), request.user.pk
        if key is None or user_id is None:
            return command(view, request, *args, **kwargs)
        asked = _fingerprint(request)
        kept = _kept(user_id, key)
        while kept is None:
            with transaction.atomic():
                if _claim(user_id, key, asked):
                    return _carried_out(
                        view, request, user_id, key, lambda: command(view, request, *args, **kwargs)
                    )
            # A twin's answer, committed a moment ago; none if it was pruned in the same moment.
            kept = _kept(user_id, key)
        if bytes(kept.asked) != asked:
            raise KeyReused()
        response = _response(kept)
        response[REPLAYED] = "true"
        return response

    # The OpenAPI document shows the header.
    vars(answer)["idempotent"] = True
    return cast("Callable[Concatenate[V, Request, P], HttpResponseBase]", answer)


def prune(*, older_than: timedelta = KEPT_FOR, limit: int = 5_000) -> int:
    """Forget up to `limit` answers that were kept longer; how many they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM rest_kept_answer WHERE (user_id, key) IN (SELECT user_id, key FROM rest_kept_answer"
            " WHERE asked_at < now() - make_interval(secs => %s)"
            " ORDER BY asked_at LIMIT %s FOR UPDATE SKIP LOCKED)",
            [older_than.total_seconds(), limit],
        )
        return int(cursor.rowcount)


def _key_of(request: Request) -> str | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_KEY or not all("!" <= character <= "~" for character in key):
        message = f"1 to {LONGEST_KEY} visible ASCII characters, without spaces."
        raise ValidationError({HEADER: ErrorDetail(message, code="invalid_idempotency_key")})
    return key


def _fingerprint(request: Request) -> bytes:
    """What was asked for, in 32 bytes. Reads the body, with all that may be wrong with it."""
    try:
        body = json.dumps(request.data, sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise ParseError("JSON parse error - it is nested too deeply.") from None
    return sha256(f"{request.method} {request.path}\n{body}".encode()).digest()


def _kept(user_id: UUID, key: str) -> KeptAnswer | None:
    return KeptAnswer.objects.filter(user_id=user_id, key=key).first()


# Inserting waits for the end of a transaction that has inserted the same key. The wait is bounded, and the
# bound is gone again when the command takes locks of its own: one statement, one round trip.
_CLAIM = """
WITH bounded AS MATERIALIZED (
    SELECT current_setting('lock_timeout') AS before, set_config('lock_timeout', %s, true)
)
INSERT INTO rest_kept_answer (user_id, key, asked) SELECT %s::uuid, %s::text, %s::bytea FROM bounded
ON CONFLICT DO NOTHING
RETURNING (SELECT set_config('lock_timeout', before, true) FROM bounded)
"""


def _claim(user_id: UUID, key: str, asked: bytes) -> bool:
    """Whether the command is this request's to carry out; not when the key was claimed and answered."""
    try:
        with connection.cursor() as cursor:
            milliseconds = str(PATIENCE // timedelta(milliseconds=1))
            cursor.execute(_CLAIM, [milliseconds, user_id, key, asked])
            return cursor.fetchone() is not None
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise KeyInUse() from error
        raise


def _carried_out(
    view: APIView, request: Request, user_id: UUID, key: str, command: Callable[[], Response]
) -> HttpResponseBase:
    """The command's answer, kept; inside the transaction of the claim."""
    try:
        with transaction.atomic():
            response = command()
    except APIException as refusal:
        if refusal.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or refusal.status_code in NOT_KEPT:
            raise
        response = view.handle_exception(refusal)
    kept = KeptAnswer(
        user_id=user_id,
        key=key,
        answer_status=response.status_code,
        answer_headers={
            **response.headers,
            "Content-Type": response.content_type or request.accepted_renderer.media_type,
        },
        answer_body=JSONRenderer().render(response.data).decode(),
    )
    kept.save(update_fields=["answer_status", "answer_headers", "answer_body"])
    return _response(kept)


def _response(kept: KeptAnswer) -> HttpResponse:
    """The very answer: the first time and every time it is asked for again."""
    return HttpResponse(kept.answer_body, status=kept.answer_status, headers=kept.answer_headers)
