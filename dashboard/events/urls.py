from django.urls import path

from dashboard.events import one, views

urlpatterns = [
    path("", views.events, name="events"),
    path("stream/", views.events_stream, name="events-stream"),
    path("find/", one.find, name="find"),
    path("<uuid:event_id>/", one.event, name="event"),
]
