"""How the admin looks, and what its menu offers to whom."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _page(title: str, icon: str, model: str) -> dict[str, Any]:
    """A menu entry for a model's list, for those who may view it. `model` is app_label.modelname."""
    app, name = model.split(".")

    def permission(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{name}")

    link = reverse_lazy(f"admin:{app}_{name}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": permission}


def _elsewhere(title: str, icon: str, name: str) -> dict[str, Any]:
    """A menu entry for a page outside the admin: never the current one."""
    return {"title": title, "icon": icon, "link": reverse_lazy(name), "active": lambda request: False}


def _mark(request: HttpRequest) -> str:
    return static("dashboard/mark.svg")


UNFOLD = {
    "SITE_TITLE": "eventsite",
    "SITE_HEADER": "eventsite",
    "SITE_SUBHEADER": "Back office",
    "SITE_URL": "/",
    "SITE_ICON": _mark,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _mark}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    # The dashboard's greys and its one accent.
    "COLORS": {
        "base": {
            "50": "#f6f6f4",
            "100": "#ededea",
            "200": "#e1e1dc",
            "300": "#c9cac5",
            "400": "#9aa2aa",
            "500": "#62686e",
            "600": "#52585e",
            "700": "#3a4046",
            "800": "#2a2f34",
            "900": "#181b1e",
            "950": "#111315",
        },
        "primary": {
            "50": "#eef3ff",
            "100": "#dde7ff",
            "200": "#bfd1ff",
            "300": "#8fb3ff",
            "400": "#6691f5",
            "500": "#4673e3",
            "600": "#2b55c9",
            "700": "#2346a8",
            "800": "#1f3c8c",
            "900": "#1d356f",
            "950": "#142149",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": "Watch",
                "items": [
                    _elsewhere("Flow", "hub", "flow"),
                    _page("Alarms", "notifications", "outbox.alarm"),
                    _elsewhere("API documents", "api", "api-docs"),
                ],
            },
            {
                "title": "Services",
                "separator": True,
                "items": [
                    _page("Payments", "payments", "payments.payment"),
                    _page("Orders", "package_2", "orders.order"),
                    _page("Loyalty accounts", "loyalty", "loyalty.account"),
                    _page("Volumes", "bar_chart", "analytics.slotlisting"),
                ],
            },
            {
                "title": "Events",
                "separator": True,
                "items": [
                    _page("Events", "bolt", "outbox.outboxevent"),
                    _page("Publications", "outbox", "outbox.publicationlisting"),
                    _page("Inbox", "inbox", "outbox.inboxlisting"),
                    _page("Dead letters", "report", "outbox.deadletter"),
                    _page("Parked keys", "local_parking", "outbox.parkedkeylisting"),
                    _page("Waiting events", "hourglass", "outbox.waitingevent"),
                    _page("Discarded events", "delete", "outbox.discardedevent"),
                    _page("Lost stretches", "broken_image", "outbox.loststretch"),
                    _page("Refusals", "block", "outbox.refusal"),
                    _page("Shards", "view_column", "outbox.shard"),
                    _page("Topics", "topic", "outbox.topicrecord"),
                ],
            },
            {
                "title": "Acts",
                "separator": True,
                "items": [
                    _page("Audit log", "history", "outbox.act"),
                    _page("Jobs on dead letters", "checklist", "outbox.repairjob"),
                    _page("Consumers", "pause_circle", "outbox.consumerstate"),
                ],
            },
            {
                "title": "People",
                "separator": True,
                "items": [
                    _page("Users", "person", "accounts.user"),
                    _page("Groups", "group", "auth.group"),
                ],
            },
        ],
    },
}
