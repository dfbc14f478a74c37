from django.urls import path

from dashboard.letters import views

urlpatterns = [path("", views.page, name="letters")]
