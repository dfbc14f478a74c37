"""Makes the list of Kafka's jars again: `python -m devstack.lock`.

Resolving is jgo's work; the lock file then says exactly what is fetched, so that a start needs no resolver.
"""

import hashlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from devstack.jars import repository
from devstack.lockfile import LOCK_FILE, Jar

KAFKA_VERSION = "4.3.1"
# Kafka logs through SLF4J 1 and brings no binding; the version is that of the log4j-core it depends on.
LOG4J_VERSION = "2.25.3"
# "!" keeps an artefact's own dependency management: without it another artefact's downgrades kafka-clients.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}!",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}!",
)
HEADER = "# The jars of {of}, made by `python -m {by}`: coordinate, file, size in bytes, SHA-256.\n"


def resolve(coordinates: Sequence[str], workspace: Path) -> list[Jar]:
    """Every jar these run with, fetched to `workspace` to be measured."""
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    context = MavenContext(repo_cache=workspace, remote_repos={"chosen": repository()})
    endpoint = Endpoint.parse("+".join(coordinates))
    wanted = [
        context.create_dependency(replace(coordinate, scope="compile")) for coordinate in endpoint.coordinates
    ]
    direct, transitive = context.resolver.resolve(wanted)
    needed = [
        *direct,
        *(dependency for dependency in transitive if dependency.scope in ("compile", "runtime")),
    ]
    return sorted((_measure(dependency.artifact) for dependency in needed), key=lambda jar: jar.coordinate)


def _measure(artifact) -> Jar:  # type: ignore[no-untyped-def]  # jgo's types are not exported
    content = Path(artifact.resolve()).read_bytes()
    return Jar(
        coordinate=f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}",
        file=artifact.filename,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def write_lock(file: Path, coordinates: Sequence[str], *, of: str, by: str) -> None:
    """Resolve these and write the lock file; `of` and `by` say in it of what it is, and by which module."""
    with tempfile.TemporaryDirectory() as workspace:
        jars = resolve(coordinates, Path(workspace))
    lines = [HEADER.format(of=of, by=by), *(f"{jar}\n" for jar in jars)]
    file.write_text("".join(lines), encoding="utf-8")
    sys.stdout.write(f"{file}: {len(jars)} jars, {sum(jar.size for jar in jars) / 1e6:.0f} MB\n")


def main() -> None:
    write_lock(LOCK_FILE, COORDINATES, of="Apache Kafka", by="devstack.lock")


if __name__ == "__main__":
    main()
