"""What is wrong now, and since when."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from dashboard.operators import for_those_who_look


@require_GET
@for_those_who_look
def page(request: HttpRequest) -> HttpResponse:
    """The page."""
    return render(request, "dashboard/alerts/page.html")
