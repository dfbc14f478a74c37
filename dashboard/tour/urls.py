from django.urls import path

from dashboard.tour import views

urlpatterns = [
    path("", views.now, name="tour-now"),
    path("pay/", views.pay, name="tour-pay"),
    path("repair/", views.repair_one, name="tour-repair"),
]
