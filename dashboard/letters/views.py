"""What consumers could not process, by its cause, and letter by letter."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from dashboard.formats import Bounded
from dashboard.letters.filters import Asked, LettersFilter
from dashboard.letters.groups import Groups, groups_of
from dashboard.letters.live import Watched, regions
from dashboard.letters.many import acts_on_letters
from dashboard.letters.selectors import Page, page_of
from dashboard.operators import for_those_who_look
from dashboard.volumes_page import zone_of

_NOTHING = dict.fromkeys(("group-rows", "letter-rows", "groups-said", "letters-looked"), "")


@require_GET
@for_those_who_look
def page(request: HttpRequest) -> HttpResponse:
    """The groups and a page of letters. A filter that means nothing is said to, and nothing is shown."""
    form = LettersFilter(request.GET, zone=zone_of(request))
    valid = form.is_valid()
    asked = form.asked if valid else Asked()
    before, after = (form.cleaned_data.get(name) for name in ("before", "after"))
    found = page_of(asked, before=before, after=after) if valid else Page([], {})
    groups = groups_of(asked) if valid else Groups([], Bounded(0))
    acts = valid and asked.state == "open" and acts_on_letters(request.user)
    context = {
        "filter": form,
        "asked": asked,
        "groups": groups,
        "page": found,
        "newer": asked.address(after=str(found.newer)) if found.newer else "",
        "older": asked.address(before=str(found.older)) if found.older else "",
        "acts": acts,
        "valid": valid,
        "live": valid and before is None and after is None,
        "regions": regions(groups, found, Watched(asked, acts)) if valid else _NOTHING,
    }
    return render(request, "dashboard/letters/page.html", context, status=200 if valid else 400)
