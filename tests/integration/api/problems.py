"""What every refusal must look like."""

from typing import Any

from django.test.client import _MonkeyPatchedWSGIResponse


def problem_of(answer: "_MonkeyPatchedWSGIResponse | Any", status: int) -> dict[str, Any]:
    """The problem that was answered, checked to be one."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:eventsite:problem:")
    assert body["title"]
    assert body["detail"]
    return body


def fields_of(answer: Any) -> set[str | None]:
    """The fields that a 400 complains about."""
    return {error["field"] for error in problem_of(answer, 400)["errors"]}
