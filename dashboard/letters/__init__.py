"""What consumers could not process, and what is done about it."""
