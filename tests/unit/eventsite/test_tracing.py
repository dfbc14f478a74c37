"""Where traces go, as the environment says."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from eventsite import tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize("name", tracing.PROTOCOLS)
def test_a_protocol_that_is_not_here_is_refused_and_not_passed_by(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.setenv(name, "grpc")
    with pytest.raises(ImproperlyConfigured, match="http/protobuf alone"):
        tracing.set_up()


def test_an_exporter_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(ImproperlyConfigured, match="otlp, console or none"):
        tracing.set_up()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: "http://collector:4318"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
)
def test_traces_are_off_until_they_are_wanted(environ: dict[str, str], *, wanted: bool) -> None:
    assert tracing.is_wanted(environ) is wanted
