"""Payment volumes over REST."""

from http import HTTPStatus
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from accounts.permissions import signed_in
from analytics.errors import TooManyRows
from analytics.renderers import CsvRenderer, RowsRenderer, VolumeRow
from analytics.selectors import Volume, volumes
from analytics.serializers import VolumeOutput, VolumesQuery
from contracts.money import minor_to_text

_EXAMPLE = {
    "slot_start": "2026-01-02T03:00:00+01:00",
    "currency": "EUR",
    "status": "validated",
    "count": 3,
    "amount": "37.50",
}


class PaymentVolumes(APIView):
    """Payment volumes by slot of time."""

    renderer_classes = [RowsRenderer, CsvRenderer]

    @extend_schema(
        summary="Payment volumes by time slot",
        parameters=[
            VolumesQuery,
            OpenApiParameter("format", str, enum=["json", "csv"], description="Instead of an Accept header."),
        ],
        responses={
            (200, "application/json"): OpenApiResponse(
                VolumeOutput(many=True), examples=[OpenApiExample("One slot", [_EXAMPLE])]
            ),
            (200, "text/csv"): OpenApiResponse(
                str,
                examples=[
                    OpenApiExample(
                        "One slot",
                        "slot_start,currency,status,count,amount\r\n"
                        "2026-01-02T03:00:00+01:00,EUR,validated,3,37.50\r\n",
                    )
                ],
            ),
        },
    )
    def get(self, request: Request) -> Response:
        """What came to each status in each slot, by the time at which it happened.

        In order of slot, currency and status; slots without payments are left out. Merchants see their own.
        At most 50,000 rows: 400 `too_many_rows` when there are more.
        """
        given = VolumesQuery(data=_single_values(request))
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        asked["merchant_id"] = _merchant_seen(request, asked["merchant_id"])
        try:
            found = volumes(**asked)
        except TooManyRows as error:
            raise ValidationError({error.field: str(error)}, code="too_many_rows") from error
        response = Response(_rows(found), status=HTTPStatus.OK)
        # Two representations at one address: caches must keep them apart.
        response["Vary"] = "Accept"
        return response


def _single_values(request: Request) -> dict[str, str]:
    """The parameters. Raises ValidationError for one that is given twice: which is meant, is a guess."""
    repeated = [name for name, values in request.query_params.lists() if len(values) > 1]
    if repeated:
        raise ValidationError(dict.fromkeys(repeated, "Given more than once."), code="repeated")
    parameters: dict[str, str] = request.query_params.dict()
    parameters.pop(str(api_settings.URL_FORMAT_OVERRIDE), None)
    return parameters


def _merchant_seen(request: Request, asked: UUID | None) -> UUID | None:
    own = signed_in(request).sees_merchant
    if own is None:
        return asked
    if asked not in (None, own):
        raise NotFound("There is no such merchant, or it is another one.")
    return own


def _rows(found: list[Volume]) -> list[VolumeRow]:
    rows = []
    start, shown = None, ""
    for volume in found:
        if volume.slot_start is not start:  # the next slot: its rows share it
            start, shown = volume.slot_start, volume.slot_start.isoformat()
        amount = minor_to_text(volume.amount_minor, volume.currency)
        rows.append(VolumeRow(shown, volume.currency, volume.status, volume.count, amount))
    return rows
