"""What is wrong now, and since when."""
