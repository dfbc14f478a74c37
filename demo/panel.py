"""What a visitor needs once the demo is ready."""

from collections.abc import Mapping

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.accounts import Accounts


def show(
    console: Console, *, url: str, accounts: Accounts, metrics: Mapping[str, int | None], seconds: float
) -> None:
    """The address, who can sign in, and how to go on."""
    users = Table.grid(padding=(0, 3))
    rows = [
        ("sees and administers all", accounts.staff),
        ("sees all, and acts", accounts.operator),
        *(("a merchant, sees its own", merchant) for merchant in accounts.merchants),
    ]
    for role, account in rows:
        users.add_row(account.username, account.password, Text(role, style="dim"))
    pages = Table.grid(padding=(0, 3))
    for name, path in [("the pipeline", "/"), ("administration", "/admin/"), ("the API", "/api/docs/")]:
        pages.add_row(name, Text(f"{url}{path}", style="bold"))
    ports = ", ".join(f"{name} {port}" for name, port in metrics.items())
    pages.add_row("metrics", Text(f"/metrics at the ports of {ports}", style="dim"))
    further = Text(
        "In another terminal: .venv/bin/python manage.py generate_load --rate 50 --seconds 60\n"
        "Ctrl-C ends everything; data and passwords are kept.",
        style="dim",
    )
    title = f"Ready in {seconds:.1f} s"
    console.print(
        Panel(Group(pages, Text(), users, Text(), further), title=title, expand=False), highlight=False
    )
