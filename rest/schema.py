"""The OpenAPI description of errors."""

from typing import Any

from drf_standardized_errors.openapi import AutoSchema as StandardizedAutoSchema

from rest.problems import MEDIA_TYPE
from rest.serializers import ProblemSerializer


class ProblemAutoSchema(StandardizedAutoSchema):
    """Every operation with the problems it can answer, under their media type."""

    def _get_error_response_serializer(self, status_code: str) -> Any:
        return ProblemSerializer

    def _get_response_for_code(
        self, serializer: Any, status_code: Any, media_types: Any = None, direction: Any = "response"
    ) -> Any:
        if serializer is ProblemSerializer:
            media_types = [MEDIA_TYPE]
        return super()._get_response_for_code(serializer, status_code, media_types, direction)
