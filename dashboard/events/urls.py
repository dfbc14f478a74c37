from django.urls import path

from dashboard.events import views

urlpatterns = [path("", views.page, name="events")]
