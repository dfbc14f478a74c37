from django.urls import path

from dashboard.chaos import views

urlpatterns = [
    path("", views.panel, name="chaos"),
    path("stream/", views.stream, name="chaos-stream"),
    path("act/", views.act, name="chaos-act"),
    path("poison/", views.poison_one, name="chaos-poison"),
]
