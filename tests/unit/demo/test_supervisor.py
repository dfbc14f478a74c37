"""What the demo keeps running."""

from pathlib import Path

from demo.supervisor import embedded_servers
from devstack.stack import Stack


def test_servers_given_by_the_environment_are_others_to_keep(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "postgresql://elsewhere/db", "KAFKA_BOOTSTRAP_SERVERS": "elsewhere:9092"}
    assert embedded_servers(Stack(tmp_path, environ=given)) == {}
