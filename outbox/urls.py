from django.urls import path

from outbox.api import EventDetail, EventList, Healthz, Readyz

urlpatterns = [
    path("api/events/", EventList.as_view(), name="event-list"),
    path("api/events/<uuid:event_id>/", EventDetail.as_view(), name="event-detail"),
    path("healthz", Healthz.as_view(), name="healthz"),
    path("readyz", Readyz.as_view(), name="readyz"),
]
