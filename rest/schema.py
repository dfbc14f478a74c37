"""The OpenAPI description of errors."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework.permissions import IsAuthenticated

from rest.problems import MEDIA_TYPE, problem
from rest.serializers import ProblemSerializer, StrictSerializer

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
    """Every operation with the problems it can answer; `default` is what any of them can (405, 500, 503)."""

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response":
            for code in self._problem_codes():
                responses.setdefault(code, self._problem(code))
        return responses

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, StrictSerializer):
            schema |= {"additionalProperties": False, **serializer.schema_limits}
        return schema

    def _problem_codes(self) -> list[str]:
        """The statuses that follow from the kind of operation."""
        takes_body = self.method in {"POST", "PUT", "PATCH"}
        codes = ["400"] if takes_body or self._get_paginator() else []  # type: ignore[no-untyped-call]
        if any(self.get_auth()):
            codes.append("401")
        if takes_body or any(type(rule) is not IsAuthenticated for rule in self.view.get_permissions()):
            codes.append("403")
        if "{" in self.path:
            codes.append("404")
        if takes_body:
            codes += ["413", "415"]
        return [*codes, "default"]

    def _problem(self, code: str) -> Any:
        phrase = "Any other error" if code == "default" else HTTPStatus(int(code)).phrase
        examples = [OpenApiExample("Refused input", _INVALID)] if code == "400" else []
        response = OpenApiResponse(ProblemSerializer, description=phrase, examples=examples)
        return self._get_response_for_code(response, code, [MEDIA_TYPE])  # type: ignore[no-untyped-call]
