"""Who may see and do what: nobody without signing in, merchants their own, operators all."""

from uuid import uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import ensure_user
from tests.integration.api.answers import MakePayment, problem_of, refused_fields

PUBLIC = {"api/schema/", "api/docs/", "^api/"}
FILLERS = {
    "<uuid:payment_id>": str(uuid4()),
    "<uuid:order_id>": str(uuid4()),
    "<uuid:event_id>": str(uuid4()),
    "<uuid:letter_id>": str(uuid4()),
    "<uuid:job_id>": str(uuid4()),
    "<uuid:parked_id>": str(uuid4()),
    "<customer_id:customer_id>": "c-1",
    "<str:name>": "orders",
}


def api_routes() -> list[str]:
    """Every address under api/ that the project answers at, found by walking its URLs."""

    def walk(resolver: URLResolver, prefix: str) -> list[str]:
        found: list[str] = []
        for pattern in resolver.url_patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                found.append(route)
            else:
                found += walk(pattern, route)
        return found

    routes = {route for route in walk(get_resolver(), "") if "api/" in route and "admin" not in route}
    return sorted(routes - PUBLIC)


def address(route: str) -> str:
    for placeholder, value in FILLERS.items():
        route = route.replace(placeholder, value)
    assert "<" not in route, f"give {route} a filler"
    return f"/{route}"


def test_the_walk_finds_the_routes() -> None:
    assert {
        "api/payments/",
        "api/orders/",
        "api/events/",
        "api/loyalty/accounts/<customer_id:customer_id>/",
    } <= set(api_routes())


@pytest.mark.parametrize("route", api_routes())
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_nobody_is_let_in_anywhere(db: None, anonymous: APIClient, route: str, method: str) -> None:
    answer = getattr(anonymous, method)(address(route))
    assert problem_of(answer, 401)["code"] == "not_authenticated"
    assert answer["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("route", api_routes())
def test_a_wrong_token_is_refused(db: None, anonymous: APIClient, route: str) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION=f"Token {'0' * 40}")
    assert problem_of(anonymous.get(address(route)), 401)["code"] == "authentication_failed"


@pytest.mark.parametrize("header", ["Token", "Token a b", "Token \xff", "Bearer x", "Basic eDp5"])
def test_credentials_that_are_none_are_refused(db: None, anonymous: APIClient, header: str) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION=header)
    problem_of(anonymous.get("/api/payments/"), 401)


def test_a_disabled_merchant_is_refused(api: APIClient, merchant: User) -> None:
    User.objects.filter(id=merchant.id).update(is_active=False)
    problem_of(api.get("/api/payments/"), 401)


def test_a_session_is_as_good_as_a_token(merchant: User) -> None:
    browser = APIClient()
    browser.force_login(merchant)
    assert browser.get("/api/payments/").status_code == 200


def test_a_session_cannot_be_used_from_another_site(merchant: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(merchant)
    problem_of(browser.post("/api/payments/", {"customer_id": "c-1", "amount": "1", "currency": "EUR"}), 403)


def test_another_merchants_payment_is_not_found(
    api: APIClient, other_api: APIClient, make_payment: MakePayment
) -> None:
    made = make_payment()
    problem_of(other_api.get(f"/api/payments/{made['id']}/"), 404)
    problem_of(other_api.post(f"/api/payments/{made['id']}/validate/"), 404)
    problem_of(other_api.get(f"/api/events/{made['event_id']}/"), 404)
    assert other_api.get("/api/payments/").json()["results"] == []
    assert other_api.get("/api/events/").json()["results"] == []
    assert api.get(f"/api/payments/{made['id']}/").json()["status"] == "pending"


def test_operators_see_and_validate_every_merchants_payments(
    operator_api: APIClient, other_api: APIClient, make_payment: MakePayment
) -> None:
    mine, others = make_payment(), make_payment(other_api)
    shown = operator_api.get("/api/payments/").json()["results"]
    assert [row["id"] for row in shown] == [others["id"], mine["id"]]
    assert operator_api.post(f"/api/payments/{mine['id']}/validate/").json()["status"] == "validated"
    assert len(operator_api.get("/api/events/").json()["results"]) == 3


REQUEST = {"customer_id": "c-1", "amount": "1.00", "currency": "EUR"}


@pytest.mark.parametrize("who", ["staff_api", "viewer_api"])
def test_only_merchants_and_operators_request_payments(request: pytest.FixtureRequest, who: str) -> None:
    refused = problem_of(request.getfixturevalue(who).post("/api/payments/", REQUEST), 403)
    assert "merchant" in refused["detail"]


def test_an_operator_requests_a_payment_for_the_merchant_it_names(
    operator_api: APIClient, api: APIClient, merchant: User
) -> None:
    made = operator_api.post("/api/payments/", {**REQUEST, "merchant": str(merchant.id)})
    assert made.status_code == 201
    assert api.get(f"/api/payments/{made.json()['id']}/").status_code == 200
    assert api.get(f"/api/events/{made.json()['event_id']}/").status_code == 200


def test_a_merchant_that_is_not_there_or_not_ones_own_is_refused(
    operator_api: APIClient, api: APIClient, merchant: User
) -> None:
    operator = ensure_user(username="no-merchant", password=None)
    other = ensure_user(username="another", password=None, groups=["merchant"])
    for client, named in (
        (operator_api, None),
        (operator_api, str(uuid4())),
        (operator_api, str(operator.id)),
        (api, str(other.id)),
        (api, str(uuid4())),
    ):
        body = REQUEST if named is None else {**REQUEST, "merchant": named}
        assert refused_fields(client.post("/api/payments/", body)) == {"merchant"}
    assert api.get("/api/payments/").json()["results"] == []
    assert api.post("/api/payments/", {**REQUEST, "merchant": str(merchant.id)}).status_code == 201


@pytest.mark.parametrize("who", ["staff_api", "viewer_api"])
def test_whoever_only_sees_all_acts_on_nothing(
    request: pytest.FixtureRequest, who: str, make_payment: MakePayment
) -> None:
    made, client = make_payment(), request.getfixturevalue(who)
    assert client.get(f"/api/payments/{made['id']}/").json()["status"] == "pending"
    assert client.get(f"/api/events/{made['event_id']}/").status_code == 200
    assert len(client.get("/api/events/").json()["results"]) == 1
    problem_of(client.post(f"/api/payments/{made['id']}/validate/"), 403)
    assert client.get(f"/api/payments/{made['id']}/").json()["status"] == "pending"


def test_a_merchant_who_also_sees_all_acts_on_its_own_alone(make_payment: MakePayment) -> None:
    others, both = make_payment(), APIClient()
    both.force_authenticate(ensure_user(username="both", password=None, groups=["merchant", "viewer"]))
    mine = make_payment(both)
    assert len(both.get("/api/payments/").json()["results"]) == 2
    problem_of(both.post(f"/api/payments/{others['id']}/validate/"), 404)
    assert both.post(f"/api/payments/{mine['id']}/validate/").status_code == 200


def test_others_read_nothing_and_write_nothing(nobodys_api: APIClient, make_payment: MakePayment) -> None:
    made = make_payment()
    for address in ("/api/payments/", "/api/orders/", "/api/events/"):
        assert nobodys_api.get(address).json()["results"] == []
    problem_of(nobodys_api.get(f"/api/payments/{made['id']}/"), 404)
    problem_of(nobodys_api.get("/api/loyalty/accounts/c-1/"), 404)
    problem_of(
        nobodys_api.post("/api/payments/", {"customer_id": "c-1", "amount": "1", "currency": "EUR"}), 403
    )
    problem_of(nobodys_api.post(f"/api/payments/{made['id']}/validate/"), 403)


def test_a_merchant_who_is_staff_requests_payments_of_its_own(db: None, make_payment: MakePayment) -> None:
    both = APIClient()
    both.force_authenticate(ensure_user(username="both", password=None, groups=["merchant"], is_staff=True))
    assert make_payment(both)["status"] == "pending"
