from pathlib import Path

import pytest

from devstack.errors import LockFileInvalid
from devstack.lock import KAFKA_VERSION
from devstack.lockfile import Jar, read_lock

DIGEST = "ab" * 32
LINE = f"org.apache.kafka:kafka_2.13:4.3.1 kafka_2.13-4.3.1.jar 5000 {DIGEST}"


def test_line_is_read_and_written_alike() -> None:
    jar = Jar.parse(LINE)

    assert str(jar) == LINE
    assert jar.path == "org/apache/kafka/kafka_2.13/4.3.1/kafka_2.13-4.3.1.jar"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "org.apache.kafka:kafka_2.13:4.3.1",
        LINE + " more",
        LINE.replace("org.apache.kafka:", ""),
        LINE.replace("5000", "many"),
        LINE.replace("5000", "0"),
        LINE.replace("5000", "-5"),
        LINE.replace(DIGEST, DIGEST[:-1]),
        LINE.replace(DIGEST, "z" * 64),
        LINE.replace(" kafka_2.13-4.3.1.jar", " ../kafka.jar"),
        LINE.replace(" kafka_2.13-4.3.1.jar", " /etc/kafka.jar"),
        LINE.replace(" kafka_2.13-4.3.1.jar", " kafka.sh"),
    ],
)
def test_line_that_is_not_exact_is_refused(line: str) -> None:
    with pytest.raises(LockFileInvalid):
        Jar.parse(line)


def test_comments_and_blank_lines_are_passed_over_and_order_is_kept(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(f"# made\n\na:b:1 z.jar 1 {DIGEST}\na:c:1 a.jar 1 {DIGEST}\n")

    assert [jar.file for jar in read_lock(lock)] == ["z.jar", "a.jar"]


@pytest.mark.parametrize("text", ["", "# nothing\n", f"a:b:1 a.jar 1 {DIGEST}\nb:b:1 a.jar 1 {DIGEST}\n"])
def test_lock_without_jars_or_with_one_file_twice_is_refused(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(text)

    with pytest.raises(LockFileInvalid):
        read_lock(lock)


def test_lock_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(LockFileInvalid, match="cannot be read"):
        read_lock(tmp_path / "lock")


def test_committed_lock_is_one_kafka_with_a_log() -> None:
    versions = dict(jar.coordinate.rsplit(":", 1) for jar in read_lock())

    kafka = {version for name, version in versions.items() if name.startswith("org.apache.kafka:")}
    assert kafka == {KAFKA_VERSION}
    # Without a binding Kafka logs nothing; of another version than the core it may not run.
    log4j = "org.apache.logging.log4j:"
    assert versions[log4j + "log4j-slf4j-impl"] == versions[log4j + "log4j-core"]
