"""Makes the list of Debezium's jars again: `python -m benchmarks.lock`."""

from pathlib import Path

from devstack.lock import KAFKA_VERSION, LOG4J_VERSION, write_lock

LOCK_FILE = Path(__file__).with_name("debezium.lock")
DEBEZIUM_VERSION = "3.7.0.Final"
COORDINATES = (
    f"org.apache.kafka:connect-runtime:{KAFKA_VERSION}!",
    f"io.debezium:debezium-connector-postgres:{DEBEZIUM_VERSION}!",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}!",
)


def main() -> None:
    write_lock(LOCK_FILE, COORDINATES, of="Debezium and Kafka Connect", by="benchmarks.lock")


if __name__ == "__main__":
    main()
