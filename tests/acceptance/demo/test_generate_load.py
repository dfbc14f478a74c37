"""generate_load against a running demo: every payment sent is counted, and found again."""

import re
import subprocess
import sys

import psycopg

from tests.acceptance.demo.running import RunningDemo, environment
from tests.servers import PROJECT

RATE, SECONDS = 10, 3


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "generate_load", *arguments],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
    )


def rows(table: str) -> dict[str, list[str]]:
    """The figures of each line by its name."""
    found = re.findall(r"^│ +(\S.*?) +│(.*)│$", table, re.M)
    return {name: figures.replace("│", " ").split() for name, figures in found}


def test_every_payment_is_sent_validated_and_processed(demo: RunningDemo) -> None:
    with psycopg.connect(demo.read()["database"], autocommit=True) as database:

        def counts() -> list[int]:
            tables = ("payments_payment", "orders_order", "loyalty_ledgerentry")
            query = " UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in tables)
            return [count for (count,) in database.execute(query).fetchall()]

        before = counts()
        done = generate("--folder", str(demo.folder), f"--rate={RATE}", f"--seconds={SECONDS}")
        assert done.returncode == 0, done.stderr + done.stdout
        after = counts()
    sent = RATE * SECONDS
    assert [now - then for now, then in zip(after, before, strict=True)] == [sent] * 3
    figures = rows(done.stdout)
    assert figures["sent"] == [str(sent)]
    assert figures["errors"] == ["0"]
    assert figures["not processed"] == ["0"]
    for name in ("validated", "processed by all"):
        count, *delays = map(int, figures[name])
        assert count == sent
        assert delays == sorted(delays)
        assert 0 < delays[0] < 30_000


def test_payments_that_are_refused_are_errors(demo: RunningDemo) -> None:
    """The operator is no merchant, and names none: each request is answered 400."""
    told = demo.read()
    with psycopg.connect(told["database"]) as database:
        database.execute(
            "INSERT INTO authtoken_token (key, user_id, created)"
            " SELECT 'operators-token', id, now() FROM accounts_user WHERE username = 'operator'"
            " ON CONFLICT DO NOTHING"
        )
    done = generate("--url", told["url"], "--token=operators-token", "--rate=5", "--seconds=1")
    assert done.returncode == 1
    figures = rows(done.stdout)
    assert (figures["sent"], figures["errors"]) == (["5"], ["5"])
    assert figures["request: 400 Bad Request"] == ["5"]
    assert "Not every payment" in done.stderr


def test_without_a_demo_it_says_so(demo: RunningDemo) -> None:
    missing = generate("--folder", str(demo.folder / "nowhere"), "--rate=1", "--seconds=1")
    assert missing.returncode == 1
    assert "No demo runs here" in missing.stderr
    wrong = generate("--url", demo.read()["url"], "--token=wrong", "--rate=1", "--seconds=1")
    assert wrong.returncode == 1
    assert "does not know this token" in wrong.stderr
    zero = generate("--rate=0", "--seconds=1")
    assert "greater than 0" in zero.stderr
