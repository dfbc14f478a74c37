"""The OpenAPI document, made once: it is the same for everyone, and takes a tenth of a second to make."""

from functools import cache
from typing import Any

from django.http import HttpResponse
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.settings import api_settings


class Document(SpectacularAPIView):
    """In YAML or JSON, by the Accept header or `?format=`. There is one language and one version of it."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """The document. Raises ValidationError for parameters that there are not."""
        known = api_settings.URL_FORMAT_OVERRIDE
        unknown = [name for name in request.query_params if name != known]
        if unknown:
            message = f"Unknown parameter; there is {known}."
            raise ValidationError(dict.fromkeys(unknown, message), code="unknown_parameter")
        renderer = type(request.accepted_renderer)
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        return HttpResponse(
            _rendered(renderer.format),
            content_type=f"{renderer.media_type}{charset}",
            headers={"Content-Disposition": f'inline; filename="eventsite.{renderer.format}"'},
        )


@cache
def _rendered(form: str) -> bytes:
    renderer: Any = OpenApiJsonRenderer() if form == OpenApiJsonRenderer.format else OpenApiYamlRenderer()
    generator: Any = Document.generator_class()
    rendered: bytes = renderer.render(generator.get_schema(request=None, public=True))
    return rendered
