"""A check of schemathesis: what fits the OpenAPI document is refused only for what no schema can state."""

import schemathesis
from schemathesis import Case, CheckContext, Response

# By code: rules between fields, and between a field and what is stored.
BEYOND_SCHEMAS = {
    "contract_violation",  # corrected data, by the contract of the dead letter's type
    "idempotency_key_reused",
    "invalid_amount",  # decimals of the currency
    "lines_do_not_add_up",
    "nothing_selected",  # one field of several, or all of it
    "range",  # a span of time that ends before it begins, or is too long
    "span",
    "unknown_zone",
}
# By field: opaque to the caller, or with rules for names, which OpenAPI 3.0 cannot state.
OPAQUE = ("cursor", "metadata", "topic", "merchant", "from", "to")


@schemathesis.check
def refuses_only_what_no_schema_can_state(ctx: CheckContext, response: Response, case: Case) -> None:  # type: ignore[type-arg]
    """400 and 422 to input that fits the schema name one of these reasons, and nothing else."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if not positive or response.status_code not in {400, 422}:
        return
    body = response.json()
    wrong = body.get("errors") or [{"field": None, "code": body["code"], "detail": body["detail"]}]
    unexpected = [
        error
        for error in wrong
        if error["code"] not in BEYOND_SCHEMAS and str(error["field"]).partition(".")[0] not in OPAQUE
    ]
    assert not unexpected, f"fits the schema and is refused: {unexpected}"
