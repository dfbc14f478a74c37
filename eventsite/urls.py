"""Which address belongs to which app."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularSwaggerView

from rest.document import Document
from rest.problems import no_such_resource

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("dashboard.urls")),
    path("", include("payments.urls")),
    path("", include("orders.urls")),
    path("", include("loyalty.urls")),
    path("", include("analytics.urls")),
    path("", include("timeline.urls")),
    path("", include("outbox.urls")),
    path("api/schema/", Document.as_view(), name="api-schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
    # Nothing else under api/, in the API's own words even where Django's debug pages are on.
    re_path(r"^api/", no_such_resource),
]

handler400 = "rest.problems.bad_request"
handler500 = "rest.problems.server_error"
