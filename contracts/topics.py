"""The project's topics. `manage.py topics apply` makes them so."""

from datetime import timedelta

from outbox.topics import Topic

_FINITE = timedelta(days=90)

PAYMENTS = Topic(name="payments", partitions=4, retention=_FINITE)
# Orders are the record of what was sold: kept for ever, and so readable from the beginning.
ORDERS = Topic(name="orders", partitions=4, retention=None)
LOYALTY = Topic(name="loyalty", partitions=4, retention=_FINITE)
# Totals of time slots: few, and best read in one order.
PAYMENT_VOLUMES = Topic(name="payment-volumes", partitions=1, retention=_FINITE)

TOPICS = (PAYMENTS, ORDERS, LOYALTY, PAYMENT_VOLUMES)
