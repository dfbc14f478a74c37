from django.urls import path

from dashboard.alerts import views

urlpatterns = [
    path("", views.page, name="alerts"),
    path("stream/", views.stream, name="alerts-stream"),
    path("<int:alarm_id>/silence/", views.silence_alarm, name="alarm-silence"),
]
