"""Events, searched and as they come in."""
