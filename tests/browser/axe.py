"""axe-core (https://github.com/dequelabs/axe-core) looks at a page for what keeps people out.

It is injected by the browser's debugger, which the pages' security policy does not bind.
"""

from playwright.sync_api import Page

from tests.servers import PROJECT

_AXE = (PROJECT / "tests" / "browser" / "vendor" / "axe-4.12.1.min.js").read_text()
_FINDINGS = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.filter((each) => ["serious", "critical"].includes(each.impact)).map((each) =>
    `${each.impact}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
}"""


def findings(page: Page) -> list[str]:
    """What is serious or critical."""
    page.evaluate(f"typeof axe === 'undefined' && (() => {{ {_AXE} }})()")
    found: list[str] = page.evaluate(_FINDINGS)
    return found
