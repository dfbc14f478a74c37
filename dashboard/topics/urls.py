from django.urls import path

from dashboard.topics import views

urlpatterns = [path("", views.page, name="topics")]
