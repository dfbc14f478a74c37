from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from dashboard import acting, paying, payment_page, stream, views, volumes_page, volumes_stream

urlpatterns = [
    path("", views.flow, name="flow"),
    path("flow/stream/", stream.flow_stream, name="flow-stream"),
    path("events/", include("dashboard.events.urls")),
    path("consumers/", include("dashboard.consumers.urls")),
    path("dead-letters/", include("dashboard.letters.urls")),
    path("topics/", include("dashboard.topics.urls")),
    path("alerts/", include("dashboard.alerts.urls")),
    path("tour/", include("dashboard.tour.urls")),
    path("chaos/", include("dashboard.chaos.urls")),
    path("payments/", paying.payments, name="payments"),
    path("payments/<uuid:payment_id>/", payment_page.payment, name="payment"),
    path("payments/<uuid:payment_id>/now/", payment_page.payment_now, name="payment-now"),
    path("payments/<uuid:payment_id>/following/", paying.following, name="following"),
    path("payments/<uuid:payment_id>/<slug:command>/", acting.act, name="payment-command"),
    path("volumes/", volumes_page.volumes, name="volumes"),
    path("volumes/stream/", volumes_stream.volumes_stream, name="volumes-stream"),
    path(
        "login/",
        LoginView.as_view(template_name="dashboard/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
]
