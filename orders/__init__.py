"""Orders: instantiated by the validation of a payment."""
