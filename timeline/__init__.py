"""What happened to a payment, across all services: read from their events."""
