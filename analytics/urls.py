from django.urls import path

from analytics.api import PaymentVolumes

urlpatterns = [
    path("api/analytics/payment-volumes/", PaymentVolumes.as_view(), name="payment-volumes"),
]
