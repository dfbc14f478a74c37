"""What was committed and acknowledged is there after a SIGKILL, and clients find it at the same address."""

import os
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from devstack.errors import DataFromOtherVersion, PortTaken, ServerFailed
from devstack.postgres import Postgres
from devstack.privileges import NAMESPACE, OTHER_USER, OURSELVES, Account
from devstack.progress import Progress
from devstack.stack import Stack
from tests.integration.devstack.ledger import JARS, acknowledged, committed, make_topic, record
from tests.integration.devstack.waiting import wait_for


def test_both_servers_keep_all_through_kill_and_restart(own_stack: Stack) -> None:
    own_stack.start()
    before = own_stack.environment()
    make_topic(own_stack)
    record(own_stack, "one")

    own_stack.postgres.kill()
    own_stack.kafka.kill()
    assert not own_stack.postgres.alive
    assert not own_stack.kafka.alive
    own_stack.postgres.start()
    own_stack.kafka.start()

    assert own_stack.environment() == before
    record(own_stack, "two")
    assert committed(own_stack.database_url) == ["one", "two"]
    assert acknowledged(own_stack) == ["one", "two"]


def test_data_and_addresses_are_kept_from_run_to_run(own_stack: Stack) -> None:
    own_stack.start()
    before = own_stack.environment()
    make_topic(own_stack)
    record(own_stack, "one")
    own_stack.stop()

    with Stack(own_stack.folder, jars=JARS, environ={}) as again:
        assert again.environment() == before
        assert committed(again.database_url) == ["one"]
        assert acknowledged(again) == ["one"]


def test_server_killed_from_outside_starts_again(own_stack: Stack) -> None:
    """Also PostgreSQL with a child that is too busy to notice, and holds its memory."""
    own_stack.start()
    with closing(psycopg.connect(own_stack.database_url)) as busy:
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
        wait_for(lambda: is_active(own_stack, busy))
        kill_and_start_again(own_stack)


def is_active(stack: Stack, connection: psycopg.Connection) -> bool:
    question = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
    with psycopg.connect(stack.database_url) as other:
        return other.execute(question, [connection.info.backend_pid]).fetchone() == (True,)


def kill_and_start_again(stack: Stack) -> None:
    for server in (stack.postgres, stack.kafka):
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda server=server: not server.alive)  # type: ignore[misc]
        server.start()
        assert server.pid != pid


def test_pid_that_another_program_has_by_now_is_not_taken_for_a_server(own_stack: Stack) -> None:
    own_stack.start()
    pid_file = own_stack.folder / "postgres" / "data" / "postmaster.pid"
    content = pid_file.read_text()
    own_stack.stop()

    with subprocess.Popen(["sleep", "300"]) as another:
        pid_file.write_text(content.replace(content.splitlines()[0], str(another.pid), 1))
        try:
            own_stack.start()
        finally:
            another.kill()


def test_restart_at_a_port_that_was_taken_meanwhile_is_refused_in_words(own_stack: Stack) -> None:
    own_stack.start()
    own_stack.postgres.stop()

    with (
        socket.create_server(("127.0.0.1", own_stack.postgres.port)),
        pytest.raises(PortTaken, match=f"port {own_stack.postgres.port} "),
    ):
        own_stack.postgres.start()

    own_stack.postgres.start()


def test_next_run_moves_away_from_ports_that_were_taken(own_stack: Stack) -> None:
    own_stack.start()
    ports = [own_stack.postgres.port, own_stack.kafka.port]
    own_stack.stop()

    with socket.create_server(("127.0.0.1", ports[0])), socket.create_server(("127.0.0.1", ports[1])):
        own_stack.start()

    assert own_stack.postgres.port not in ports
    assert own_stack.kafka.port not in ports


def test_server_that_cannot_start_shows_its_last_words_and_the_other_is_ended(own_stack: Stack) -> None:
    own_stack.start()
    own_stack.stop()
    (own_stack.folder / "postgres" / "data" / "postgresql.conf").write_text("nonsense here\n")

    with pytest.raises(ServerFailed, match=r'(?s)PostgreSQL ended.*parameter "nonsense".*postgres\.log'):
        own_stack.start()

    assert not own_stack.postgres.alive
    assert not own_stack.kafka.alive


def test_data_of_another_postgresql_is_left_alone(own_stack: Stack) -> None:
    data = own_stack.folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")

    with pytest.raises(DataFromOtherVersion, match="PostgreSQL 15"):
        own_stack.start()

    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def accounts() -> list[Account]:
    """The ways that this machine allows; root has at least one of two."""
    if os.geteuid() != 0:
        return [OURSELVES]
    return [account for account in (NAMESPACE, OTHER_USER) if account.works()]


def test_postgresql_runs_below_closed_folders_under_every_account_in_turn(tmp_path: Path) -> None:
    assert accounts()
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    for account in [*accounts(), *accounts()]:
        postgres = Postgres(folder, progress=Progress(), account=account)
        postgres.start()
        postgres.kill()
        postgres.start()
        postgres.stop()
