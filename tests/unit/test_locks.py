"""The locks follow from their sources: nothing was asked for without `make lock`."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.lock import COORDINATES, LOCK_FILE
from devstack.lock import KAFKA_VERSION
from devstack.lockfile import read_lock

PROJECT = Path(__file__).resolve().parent.parent.parent
ENTRY = re.compile(
    r"^(?P<requirement>[A-Za-z0-9][^\\]*?)\s*(?P<hashes>(\\\s+--hash=sha256:[0-9a-f]{64}\s*)+)$", re.M
)


def asked(source: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in source.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def locked(lock: Path) -> dict[str, Requirement]:
    pins = (Requirement(entry["requirement"]) for entry in ENTRY.finditer(lock.read_text(encoding="utf-8")))
    return {_normal(pin.name): pin for pin in pins}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_all_that_is_asked_for_is_locked_with_hashes(name: str) -> None:
    pins = locked(PROJECT / f"{name}.txt")
    for requirement in asked(PROJECT / f"{name}.in"):
        pin = pins[_normal(requirement.name)]
        (version,) = [part.version for part in pin.specifier]
        assert requirement.specifier.contains(version), f"{pin} does not fit {requirement}: run make lock"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_line_of_a_lock_has_hashes_and_no_address(name: str) -> None:
    text = (PROJECT / f"{name}.txt").read_text(encoding="utf-8")
    assert len(re.findall(r"^[A-Za-z0-9].*==", text, re.M)) == len(ENTRY.findall(text))
    assert "://" not in text


def test_both_locks_agree() -> None:
    run, develop = locked(PROJECT / "requirements.txt"), locked(PROJECT / "requirements-dev.txt")
    shared = run.keys() & develop.keys()
    assert shared
    # Not the markers: a package that is needed everywhere to run may be needed on one system by a tool.
    assert {name: run[name].specifier for name in shared} == {
        name: develop[name].specifier for name in shared
    }


def test_debezium_is_locked_as_it_is_asked_for_with_one_kafka() -> None:
    versions = dict(jar.coordinate.rsplit(":", 1) for jar in read_lock(LOCK_FILE))
    for coordinate in COORDINATES:
        name, version = coordinate.removesuffix("!").rsplit(":", 1)
        assert versions[name] == version, f"{name} is another: run python -m benchmarks.lock"
    kafka = {version for name, version in versions.items() if name.startswith("org.apache.kafka:")}
    assert kafka == {KAFKA_VERSION}
    debezium = {version for name, version in versions.items() if name.startswith("io.debezium:")}
    assert len(debezium) == 1
    # Without a binding Connect logs nothing; of another version than the core it may not run.
    log4j = "org.apache.logging.log4j:"
    assert versions[log4j + "log4j-slf4j-impl"] == versions[log4j + "log4j-core"]
