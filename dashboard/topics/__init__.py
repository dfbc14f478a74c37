"""Topics as they are in Kafka, beside what was declared."""
