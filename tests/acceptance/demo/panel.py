"""Somebody at the demo's chaos panel, without a browser."""

import re
from typing import Any

import httpx

from tests.acceptance.demo.running import RunningDemo


class Panel:
    """A session of the demo's staff. Forms are sent as a browser sends them, with the page's token."""

    def __init__(self, demo: RunningDemo) -> None:
        told = demo.read()
        self._client = httpx.Client(base_url=told["url"], timeout=30)
        self._post("/login/", "/login/", **told["staff"])

    def act(self, verb: str, name: str) -> httpx.Response:
        """Press a part's button; the panel is shown again."""
        return self._post("/chaos/", "/chaos/act/", act=f"{verb} {name}")

    def poison(self) -> httpx.Response:
        """Poison an event."""
        return self._post("/chaos/", "/chaos/poison/")

    def states(self) -> dict[str, str]:
        """Each part's state in words, as the panel shows it."""
        page = self._client.get("/chaos/").raise_for_status().text
        parts = re.findall(
            r'data-part="([\w-]+)".*?<span class="state"[^>]*><span[^>]*></span>(\w+)', page, re.S
        )
        return dict(parts)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _post(self, page: str, address: str, **fields: Any) -> httpx.Response:
        form = self._client.get(page).raise_for_status().text
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert found is not None
        answer = self._client.post(address, data={**fields, "csrfmiddlewaretoken": found[1]})
        assert answer.status_code in {302, 409, 503}, answer.text
        return answer
