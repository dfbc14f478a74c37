"""What teams share: topics, events and money, as plain typed Python. Imports nothing of Django."""
