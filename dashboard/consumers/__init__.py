"""Consumers: how far each is, and steering it."""
