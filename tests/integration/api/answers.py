"""What callers do, and what every refusal must look like."""

from collections.abc import Callable
from typing import Any

MakePayment = Callable[..., dict[str, Any]]


def problem_of(answer: Any, status: int) -> dict[str, Any]:
    """The problem that was answered, checked to be one."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"] == f"urn:eventsite:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    return body


def refused_fields(answer: Any) -> set[str | None]:
    """The fields that a 400 complains about."""
    return {error["field"] for error in problem_of(answer, 400)["errors"]}
