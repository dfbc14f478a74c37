"""The browser's pages: what the system does now, what became of one event, and a payment to try it with."""
