"""The jar cache against a real HTTP server on this machine."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from devstack.errors import Cancelled, ChecksumMismatch, DownloadFailed, FolderNotUsable
from devstack.jars import REPOSITORY_VARIABLE, JarCache, repository
from devstack.lockfile import Jar
from devstack.progress import Progress, Step

CONTENTS = {"/group/a/1/a-1.jar": b"first" * 40_000, "/group/b/1/b-1.jar": b"second" * 40_000}


class Repository:
    """Serves the two jars as a Maven repository does, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.contents = dict(CONTENTS)
        self.asked: list[str] = []
        # What happens instead of the answer, by path; taken away once used.
        self.mishaps: dict[str, list[Callable[[BaseHTTPRequestHandler], None]]] = {}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        if mishaps := self.mishaps.get(request.path):
            mishaps.pop(0)(request)
            return
        content = self.contents.get(request.path)
        request.send_response(200 if content else 404)
        request.send_header("Content-Length", str(len(content or b"")))
        request.end_headers()
        request.wfile.write(content or b"")


@pytest.fixture
def maven(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    served = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv(REPOSITORY_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> JarCache:
    lock = tmp_path / "lock"
    jars = [
        Jar(
            coordinate=f"group:{path.split('/')[2]}:1",
            file=path.rsplit("/", 1)[1],
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for path, content in CONTENTS.items()
    ]
    lock.write_text("".join(f"{jar}\n" for jar in jars))
    return JarCache(tmp_path / "jars", lock=lock)


def files(cache: JarCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.folder.iterdir() if path.name != "lock"}


def test_jars_are_fetched_once(maven: Repository, cache: JarCache) -> None:
    cache.ensure(Progress())
    cache.ensure(Progress())

    assert files(cache) == {path.rsplit("/", 1)[1]: content for path, content in CONTENTS.items()}
    assert sorted(maven.asked) == sorted(CONTENTS)


def test_progress_ends_at_the_total(maven: Repository, cache: JarCache) -> None:
    steps: list[Step] = []
    cache.ensure(Progress(steps.append))

    total = sum(map(len, CONTENTS.values()))
    assert {step.total for step in steps} == {total}
    assert max(step.done for step in steps) == total


def test_damaged_jar_is_fetched_again_and_the_sound_one_is_not(maven: Repository, cache: JarCache) -> None:
    cache.ensure(Progress())
    maven.asked.clear()
    (cache.folder / "a-1.jar").write_bytes(b"damaged")

    cache.ensure(Progress())

    assert files(cache)["a-1.jar"] == CONTENTS["/group/a/1/a-1.jar"]
    assert maven.asked == ["/group/a/1/a-1.jar"]


def test_jar_with_another_checksum_is_refused_and_not_kept(maven: Repository, cache: JarCache) -> None:
    maven.contents["/group/a/1/a-1.jar"] = b"replaced by someone"

    with pytest.raises(ChecksumMismatch, match=r"a-1\.jar .* expected"):
        cache.ensure(Progress())

    assert "a-1.jar" not in files(cache)
    assert [jar.file for jar in cache.missing()][:1] == ["a-1.jar"]


def test_jar_that_does_not_exist_is_asked_for_once(maven: Repository, cache: JarCache) -> None:
    del maven.contents["/group/a/1/a-1.jar"]

    with pytest.raises(DownloadFailed, match=r"a-1\.jar could not be fetched"):
        cache.ensure(Progress())

    assert maven.asked.count("/group/a/1/a-1.jar") == 1


def test_broken_transfer_is_tried_again(maven: Repository, cache: JarCache) -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENTS[request.path])))
        request.end_headers()
        request.wfile.write(CONTENTS[request.path][:1000])

    def overloaded(request: BaseHTTPRequestHandler) -> None:
        request.send_error(503)

    maven.mishaps["/group/a/1/a-1.jar"] = [cut, overloaded]

    cache.ensure(Progress())

    assert cache.missing() == []
    assert maven.asked.count("/group/a/1/a-1.jar") == 3


def test_machine_that_is_offline_is_told_what_to_do(cache: JarCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
        monkeypatch.setenv(REPOSITORY_VARIABLE, address)

        with pytest.raises(DownloadFailed, match=f"from {address}.*online.*{REPOSITORY_VARIABLE}"):
            cache.ensure(Progress())


def test_cancelled_fetch_ends_and_leaves_no_half_file(maven: Repository, cache: JarCache) -> None:
    progress = Progress(lambda step: progress.cancel() if step.done else None)

    with pytest.raises(Cancelled):
        cache.ensure(progress)

    assert all(name in {"a-1.jar", "b-1.jar"} for name in files(cache))
    assert cache.missing()


def test_folder_that_cannot_be_made_is_named(maven: Repository, cache: JarCache) -> None:
    cache.folder.write_text("a file is in the way")

    with pytest.raises(FolderNotUsable, match="jars"):
        cache.ensure(Progress())


def test_repository_is_known_without_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REPOSITORY_VARIABLE, raising=False)

    assert repository().startswith("https://")
