from django.urls import path

from timeline.api import PaymentTimeline

urlpatterns = [
    path("api/payments/<uuid:payment_id>/timeline/", PaymentTimeline.as_view(), name="payment-timeline"),
]
