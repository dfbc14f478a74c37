"""The whole system in one terminal, and load for it. Knows the services through REST alone."""
