"""axe-core (https://github.com/dequelabs/axe-core) looks at a page for what keeps people out.

It is injected by the browser's debugger, which the pages' security policy does not bind.
"""

from collections.abc import Sequence

from playwright.sync_api import Page

from tests.servers import PROJECT

_AXE = (PROJECT / "tests" / "browser" / "vendor" / "axe-4.12.1.min.js").read_text()
_FINDINGS = """async (others) => {
  const found = await axe.run({ exclude: others }, { resultTypes: ["violations"] });
  return found.violations.filter((each) => ["serious", "critical"].includes(each.impact)).map((each) =>
    `${each.impact}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
}"""


def findings(page: Page, *, others: Sequence[str] = ()) -> list[str]:
    """What is serious or critical. `others` are selectors of what this project does not write."""
    page.evaluate(f"typeof axe === 'undefined' && (() => {{ {_AXE} }})()")
    found: list[str] = page.evaluate(_FINDINGS, list(others))
    return found
