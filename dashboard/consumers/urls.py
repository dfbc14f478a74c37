from django.urls import path

from dashboard.consumers import views

urlpatterns = [path("", views.page, name="consumers")]
