"""Loyalty: points for validated payments, in an append-only ledger."""
