"""Consumers: how far each is, and steering it."""

from django.urls import path

from dashboard.consumers import acting, moving, views

urlpatterns = [
    path("", views.consumers, name="consumers"),
    path("stream/", views.consumers_stream, name="consumers-stream"),
    path("<str:name>/", views.consumer, name="consumer"),
    path("<str:name>/stream/", views.consumer_stream, name="consumer-stream"),
    path("<str:name>/seek/", moving.seek, name="consumer-seek"),
    path("<str:name>/<slug:steering>/", acting.steer, name="consumer-command"),
]
