"""What is not ours is exactly what its publisher released, with its licence beside it."""

import base64
import hashlib
import json

from tests.servers import PROJECT

STATIC = PROJECT / "dashboard" / "static" / "dashboard"
VENDOR = STATIC / "vendor"


def test_vendored_files_are_those_recorded_and_asked_for() -> None:
    record = json.loads((VENDOR / "vendor.json").read_text())
    pages = "".join(path.read_text() for path in (PROJECT / "dashboard" / "templates").rglob("*.html"))
    licences = {entry["licence_file"] for entry in record.values()}
    assert {path.name for path in VENDOR.iterdir()} == {*record, *licences, "vendor.json"}
    for name, entry in record.items():
        digest = hashlib.sha384((VENDOR / name).read_bytes()).digest()
        assert entry["integrity"] == f"sha384-{base64.b64encode(digest).decode()}"
        assert entry["integrity"] in pages
        assert entry["version"] in name


def test_the_stylesheet_stays_small_and_nothing_comes_from_elsewhere() -> None:
    style = (STATIC / "style.css").read_text()
    assert len(style.splitlines()) < 600
    ours = [style, *(path.read_text() for path in (STATIC / "js").iterdir())]
    templates = (PROJECT / "dashboard" / "templates").rglob("*.html")
    for text in [*ours, *(path.read_text() for path in templates)]:
        assert "http://" not in text
        assert "https://" not in text
        assert "style=" not in text
        assert "onclick" not in text
