"""The OpenAPI document says all there is to say, and is made without a warning."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from rest.document import _rendered
from tests.integration.api.answers import refused_fields

COMMANDS = {"post", "patch", "put", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    text = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format=openapi-json", stdout=text)
    made: dict[str, Any] = json.loads(text.getvalue())
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        assert operation["tags"], (path, method)


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [answer for code, answer in operation["responses"].items() if code != "503"]
        for body in bodies:
            for media_type, content in body["content"].items():
                assert content.get("examples"), (path, method, media_type, body.get("description"))


def test_every_operation_of_the_api_says_how_to_sign_in_and_what_it_refuses(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if not path.startswith("/api/"):
            continue
        assert {name for way in operation["security"] for name in way} == {"tokenAuth", "cookieAuth"}
        refused = set(operation["responses"])
        assert {"401", "406", "429", "503", "default"} <= refused, (path, method)
        if "{" in path:
            assert "404" in refused, (path, method)
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
            assert "400" in refused, (path, method)
        for code in ("429", "503"):
            assert "Retry-After" in operation["responses"][code]["headers"]


def test_every_command_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    commands = [(path, method, op) for path, method, op in operations(document) if method in COMMANDS]
    assert len(commands) >= 6
    for path, method, operation in commands:
        headers = [given["name"] for given in operation["parameters"] if given["in"] == "header"]
        assert headers == ["Idempotency-Key"], (path, method)
        assert {"400", "403", "409", "413", "415", "422"} <= set(operation["responses"]), (path, method)
        good = operation["responses"].get("200") or operation["responses"]["201"]
        assert "Idempotent-Replayed" in good["headers"], (path, method)


def test_errors_are_problems(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for code, answer in operation["responses"].items():
            if code.startswith("4") or code == "default":
                assert set(answer["content"]) == {"application/problem+json"}, (path, method, code)


def test_input_says_that_unknown_fields_are_refused(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    taken = 0
    for path, method, operation in operations(document):
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert schemas[schema["$ref"].rpartition("/")[2]]["additionalProperties"] is False, (path, method)
            taken += 1
    assert taken >= 6


def test_every_command_says_that_its_twin_may_be_under_way(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if method in COMMANDS:
            refusals = operation["responses"]["409"]["content"]["application/problem+json"]["examples"]
            codes = {example["value"]["code"] for example in refusals.values()}
            assert "idempotency_key_in_use" in codes, (path, method)
            if path.endswith(("/validate/", "/reject/", "/refund/", "/cancel/")):
                assert "transition_forbidden" in codes, (path, method)
            assert "Retry-After" in operation["responses"]["409"]["headers"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["version", "lang", "page"])
@pytest.mark.parametrize("value", ["1", "\r\nX:1", "\0", "\u0100", "x" * 3_000])
def test_the_document_has_no_parameters_but_its_format(name: str, value: str) -> None:
    assert refused_fields(APIClient().get("/api/schema/", {name: value})) == {name}


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["xml", "", "\r\nX:1", "\0"])
def test_a_format_that_there_is_not_is_not_found(value: str) -> None:
    assert APIClient().get("/api/schema/", {"format": value}).status_code in {200, 404}


@pytest.mark.django_db
def test_the_document_is_made_once_for_each_format(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    get_schema: Any = SchemaGenerator.get_schema

    def counted(self: SchemaGenerator, **kwargs: Any) -> Any:
        made.append(1)
        return get_schema(self, **kwargs)

    monkeypatch.setattr(SchemaGenerator, "get_schema", counted)
    _rendered.cache_clear()
    client = APIClient()
    for _ in range(3):
        as_json, as_yaml = client.get("/api/schema/?format=json"), client.get("/api/schema/")
    assert len(made) == 2
    assert json.loads(as_json.content) == yaml.safe_load(as_yaml.content)
    assert as_json["Content-Type"] == "application/vnd.oai.openapi+json"
    assert as_yaml["Content-Type"] == "application/vnd.oai.openapi; charset=utf-8"
