from django.urls import path

from payments.api import PaymentDetail, PaymentList, PaymentRefund, PaymentRejection, PaymentValidation

urlpatterns = [
    path("api/payments/", PaymentList.as_view(), name="payment-list"),
    path("api/payments/<uuid:payment_id>/", PaymentDetail.as_view(), name="payment-detail"),
    path("api/payments/<uuid:payment_id>/validate/", PaymentValidation.as_view(), name="payment-validate"),
    path("api/payments/<uuid:payment_id>/reject/", PaymentRejection.as_view(), name="payment-reject"),
    path("api/payments/<uuid:payment_id>/refund/", PaymentRefund.as_view(), name="payment-refund"),
]
