from django.urls import path

from dashboard.events import live, one, refused, views

urlpatterns = [
    path("", views.events, name="events"),
    path("stream/", views.events_stream, name="events-stream"),
    path("find/", one.find, name="find"),
    path("<uuid:event_id>/", one.event, name="event"),
    path("<uuid:event_id>/stream/", live.stream, name="event-stream"),
    path("<uuid:event_id>/resend/", refused.mend, {"command": "resend"}, name="event-resend"),
    path("<uuid:event_id>/discard/", refused.mend, {"command": "discard"}, name="event-discard"),
]
