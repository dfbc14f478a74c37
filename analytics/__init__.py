"""Analytics: payment volumes by time slot, built from events alone."""
