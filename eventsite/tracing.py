"""OpenTelemetry: off until the environment names where traces go, with OpenTelemetry's own variables.

OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_TRACES_EXPORTER (otlp, console).
"""

import os
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment says where traces go."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or _exporter(environ) == "none":
        return False
    return bool(_exporter(environ)) or any(environ.get(name) for name in ENDPOINTS)


def set_up() -> None:
    """Have spans exported as the environment says, from a thread of the SDK's own.

    When it says nothing, nothing is loaded. Raises ImproperlyConfigured for an exporter or a protocol that is
    not here.
    """
    if not is_wanted(os.environ):
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

    exporter: SpanExporter
    match _exporter(os.environ):
        case "" | "otlp":
            _check_protocol(os.environ)
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
        case "console":
            exporter = ConsoleSpanExporter()
        case other:
            raise ImproperlyConfigured(f"OTEL_TRACES_EXPORTER is otlp, console or none, not {other!r}.")
    # What the environment says of the service (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) comes first.
    own = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "eventsite"}
    provider = TracerProvider(resource=Resource.create(own))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _check_protocol(environ: Mapping[str, str]) -> None:
    """Others than this one the exporter would pass by, and send what the collector does not understand."""
    asked = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if asked.strip().lower() != "http/protobuf":
        raise ImproperlyConfigured(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {asked!r}; spans go by http/protobuf alone. Leave it out, and"
            " name the collector's port for HTTP (4318)."
        )


def _exporter(environ: Mapping[str, str]) -> str:
    return environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
