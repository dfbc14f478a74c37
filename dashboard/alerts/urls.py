from django.urls import path

from dashboard.alerts import views

urlpatterns = [path("", views.page, name="alerts")]
