"""Errors as problem details (RFC 9457), whoever noticed them: a view, Django REST framework or Django.

    {"type": "urn:eventsite:problem:validation_error", "title": "Bad Request", "status": 400,
     "detail": "amount: EUR has 2 decimals; the amount cannot have 3.", "code": "validation_error",
     "errors": [{"field": "amount", "code": "invalid", "detail": "EUR has 2 decimals; …"}]}

`errors` is there when input was refused: one entry for each thing that is wrong.
"""

import json
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import Error, ErrorResponse
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    ErrorDetail,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
)
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings

from outbox.recovery import Family, family_of

MEDIA_TYPE = "application/problem+json"


class Conflict(APIException):
    """The state of the resource forbids this; `code` says which rule."""

    status_code = HTTPStatus.CONFLICT
    default_detail = "The state of the resource forbids this."
    default_code = "conflict"


class ServiceUnavailable(APIException):
    """The database is away or busy. Nothing was changed: a transaction that did not commit is none."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "The database is away or busy at the moment; try again."
    default_code = "service_unavailable"
    wait = 1


def problem(
    status: int, *, code: str, detail: str, errors: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The members of one problem."""
    body: dict[str, Any] = {
        "type": f"urn:eventsite:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    return body if errors is None else body | {"errors": errors}


class ProblemFormatter(ExceptionFormatter):
    """Turns an exception's errors into one problem."""

    def format_error_response(self, error_response: ErrorResponse) -> dict[str, Any]:
        """One error that is about no field is the problem itself; others are listed."""
        status = int(self.exc.status_code)
        errors = [
            replace(error, attr=_place(error.attr), detail=_writable(error.detail))
            for error in error_response.errors
        ]
        if error_response.type != "validation_error":
            return problem(status, code=errors[0].code, detail=errors[0].detail)
        listed = [{"field": error.attr, "code": error.code, "detail": error.detail} for error in errors]
        return problem(status, code="validation_error", detail=_summary(errors), errors=listed)


def _place(attr: str | None) -> str | None:
    """What is wrong about a whole list or object is said of its own name; of the whole body, of none."""
    return _writable(attr or "").removesuffix(api_settings.NON_FIELD_ERRORS_KEY).rstrip(".") or None


def _writable(text: str) -> str:
    """What the caller sent may be repeated, but lone surrogates have no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _summary(errors: list[Error]) -> str:
    if len(errors) == 1:
        [error] = errors
        return f"{error.attr}: {error.detail}" if error.attr else error.detail
    fields = ", ".join(dict.fromkeys(error.attr or "the whole" for error in errors[:10]))
    return f"{len(errors)} things are wrong with {fields}{', …' if len(errors) > 10 else ''}; see errors."


class ProblemHandler(ExceptionHandler):
    """Answers every exception of a view with a problem."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """What passes by itself is no fault of the program: 503, not 500."""
        if isinstance(exc, AuthenticationFailed | NotAuthenticated | PermissionDenied):
            # It is also what is logged.
            self.exc = exc = self._paid_for(exc)
        if family_of(exc) in {Family.RECOVERABLE, Family.CONTENTION}:
            return ServiceUnavailable()
        return super().convert_known_exceptions(exc)

    def _paid_for(self, refusal: Exception) -> Exception:
        """The refusal, or what stands against it: a budget that is spent, or a database that is away.

        Django REST framework asks for permission before it throttles: refusals would cost nothing.
        """
        request = self.context["request"]
        if request is None:
            return refusal
        try:
            self.context["view"].check_throttles(request)
        except (Throttled, DatabaseError) as error:
            return error
        return refusal

    def convert_unhandled_exceptions(self, exc: Exception) -> APIException:
        """What nobody foresaw tells the caller nothing about the inside."""
        if isinstance(exc, APIException):
            return exc
        return APIException(
            ErrorDetail("Something failed on the server; it was logged.", code="server_error")
        )

    def get_response(self, exc: APIException, data: dict[str, Any]) -> Response:
        """The problem under its own media type."""
        response = super().get_response(exc, data)
        response.content_type = MEDIA_TYPE
        # A problem is JSON, also where YAML or CSV was asked for.
        request = self.context["request"]
        if request is not None:
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return response


@csrf_exempt  # nothing is done here, so a missing CSRF token is not what is wrong
def no_such_resource(request: HttpRequest) -> HttpResponse:
    """404 for an address under /api/ that nothing stands at, also where DEBUG is on."""
    detail = "There is nothing at this address."
    if not request.path.endswith("/"):
        detail = "There is nothing at this address; those of this API end with a slash."
    return plain_problem(HTTPStatus.NOT_FOUND, code="not_found", detail=detail)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's own 400s: a host that is not ours, a body too large."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return plain_problem(
        HTTPStatus.BAD_REQUEST, code="bad_request", detail="The request cannot be accepted as it is."
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """An error outside any view of the API."""
    if not _is_api(request):
        return defaults.server_error(request)
    detail = "Something failed on the server; it was logged."
    return plain_problem(HTTPStatus.INTERNAL_SERVER_ERROR, code="server_error", detail=detail)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def plain_problem(status: int, *, code: str, detail: str) -> HttpResponse:
    """One problem, answered outside any view."""
    body = json.dumps(problem(status, code=code, detail=detail))
    return HttpResponse(body, status=status, content_type=MEDIA_TYPE)
