"""The OpenAPI description of what all operations have in common: errors, and headers."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.validators import RegexValidator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated

from outbox.repair.serializers import StrictInput
from rest.idempotency import HEADER, REPLAYED, KeyInUse, KeyReused
from rest.models import LONGEST_KEY
from rest.parsers import BodyTooLarge
from rest.problems import MEDIA_TYPE, ServiceUnavailable, problem
from rest.serializers import ProblemSerializer, StrictSerializer, TextField

_INVALID = problem(
    HTTPStatus.BAD_REQUEST,
    code="validation_error",
    detail="amount: EUR has 2 decimals; the amount cannot have 3.",
    errors=[
        {
            "field": "amount",
            "code": "invalid_amount",
            "detail": "EUR has 2 decimals; the amount cannot have 3.",
        }
    ],
)

# What each status says for itself, where an operation does not say more.
_PROBLEMS = {
    "400": _INVALID,
    "401": problem(
        HTTPStatus.UNAUTHORIZED,
        code="not_authenticated",
        detail="Authentication credentials were not provided.",
    ),
    "403": problem(
        HTTPStatus.FORBIDDEN,
        code="permission_denied",
        detail="You do not have permission to perform this action.",
    ),
    "404": problem(HTTPStatus.NOT_FOUND, code="not_found", detail="Not found."),
    "406": problem(
        HTTPStatus.NOT_ACCEPTABLE,
        code="not_acceptable",
        detail="Could not satisfy the request Accept header.",
    ),
    "409": problem(HTTPStatus.CONFLICT, code=KeyInUse.default_code, detail=KeyInUse.default_detail),
    "413": problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        code=BodyTooLarge.default_code,
        detail=BodyTooLarge.default_detail,
    ),
    "415": problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        code="unsupported_media_type",
        detail='Unsupported media type "text/plain" in request.',
    ),
    "422": problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, code=KeyReused.default_code, detail=KeyReused.default_detail
    ),
    "429": problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        code="throttled",
        detail="Request was throttled. Expected available in 1 second.",
    ),
    "503": problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        code=ServiceUnavailable.default_code,
        detail=ServiceUnavailable.default_detail,
    ),
    "default": problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code="server_error",
        detail="Something failed on the server; it was logged.",
    ),
}

_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description=(
        "Any text of your choice, one for each command. The command is carried out once for it: the same "
        "request again, also at the same time, is given the first answer again."
    ),
    examples=[OpenApiExample("A UUID", "6f1b2c3d-0d4e-4f5a-8b6c-7d8e9f0a1b2c")],
)
_REPLAYED = OpenApiParameter(
    REPLAYED,
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    response=[200, 201, 400, 404, 409],
    description=f"There when this is the first answer to this {HEADER} again.",
)
_RETRY_AFTER = OpenApiParameter(
    "Retry-After",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.HEADER,
    response=[409, 429, 503],
    description="Seconds after which to try again.",
)

# The id in examples.
EXAMPLE_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def refusal(status: HTTPStatus, description: str, *examples: tuple[str, Exception]) -> OpenApiResponse:
    """One error answer of an operation, with problems as it can say them: a code and the error behind it."""
    return OpenApiResponse(
        ProblemSerializer,
        description=description,
        examples=[
            OpenApiExample(str(error), problem(status, code=code, detail=str(error)))
            for code, error in examples
        ],
    )


class ProblemAutoSchema(AutoSchema):
    """Every operation with the problems it can answer; `default` is what is nobody's intent (405, 500)."""

    def get_override_parameters(self) -> list[Any]:
        """The headers that follow from how a view is made."""
        parameters = [_RETRY_AFTER] if self.view.get_throttles() else []
        return [*parameters, _KEY, _REPLAYED] if self._is_idempotent() else parameters

    def _is_idempotent(self) -> bool:
        return "idempotent" in vars(getattr(self.view, self.method.lower(), None))

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response":
            for code in self._problem_codes():
                usual = self._problem(code)
                said = responses.setdefault(code, usual)
                if code == "409":
                    # A view says what its own rules forbid; that a twin is under way is said for all.
                    said["content"][MEDIA_TYPE]["examples"] |= usual["content"][MEDIA_TYPE]["examples"]
        return responses

    def _get_request_body(self, direction: Any = "request") -> dict[str, Any] | None:
        """A change says what is to be different: unlike another command it has no meaning without a body."""
        body: dict[str, Any] | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body | {"required": True} if body is not None and self.method == "PATCH" else body

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, StrictSerializer):
            schema |= {"additionalProperties": False, **serializer.schema_limits}
        if isinstance(serializer, StrictInput):
            schema |= {"additionalProperties": False}
        return schema

    def _map_serializer_field(
        self, field: Any, direction: Any, bypass_extensions: bool = False
    ) -> dict[str, Any]:
        mapped = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        schema: dict[str, Any] = mapped
        if direction != "request":
            return schema
        # A validator's own pattern is narrower; the base class adds it later.
        if (
            isinstance(field, TextField)
            and schema.keys().isdisjoint({"pattern", "enum"})
            and not any(isinstance(validator, RegexValidator) for validator in field.validators)
        ):
            schema = schema | {"pattern": field.schema_pattern}
        if isinstance(field, serializers.ListSerializer):
            limits = {"minItems": vars(field)["min_length"], "maxItems": vars(field)["max_length"]}
            schema = schema | {name: limit for name, limit in limits.items() if limit is not None}
        return schema

    def _get_parameters(self) -> list[dict[str, Any]]:
        """Filters take any text but none at all, and no NUL."""
        parameters: list[dict[str, Any]] = super()._get_parameters()
        for parameter in parameters:
            schema = parameter["schema"]
            if parameter["in"] == "query" and schema.keys() <= {"type"} and schema["type"] == "string":
                schema["pattern"] = r"^[^\u0000]+$"
        return parameters

    def _problem_codes(self) -> list[str]:
        """The statuses that follow from the kind of operation."""
        takes_body = self.method in {"POST", "PUT", "PATCH"}
        # Whoever takes parameters can be given wrong ones.
        parameters = self._get_parameters()
        codes = ["400"] if takes_body or any(given["in"] == "query" for given in parameters) else []
        if any(self.get_auth()):
            codes.append("401")
        if takes_body or any(type(rule) is not IsAuthenticated for rule in self.view.get_permissions()):
            codes.append("403")
        if "{" in self.path:
            codes.append("404")
        if self._is_idempotent():
            codes += ["409", "422"]
        if takes_body:
            codes += ["413", "415"]
        if self.view.get_throttles():
            codes += ["429", "503"]
        return [*codes, "406", "default"]

    def _problem(self, code: str) -> Any:
        phrase = "Any other error" if code == "default" else HTTPStatus(int(code)).phrase
        examples = [OpenApiExample(phrase, _PROBLEMS[code])]
        response = OpenApiResponse(ProblemSerializer, description=phrase, examples=examples)
        return self._get_response_for_code(response, code, [MEDIA_TYPE])  # type: ignore[no-untyped-call]
