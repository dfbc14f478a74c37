"""What else operators do in the admin: try out, give up, send again, stop, silence, move, build again.

Each is asked first, has its effect, and is written down.
"""

from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tests.browser.admin import (
    ALARMS,
    CONSUMERS,
    JOBS,
    LETTERS,
    REFUSALS,
    choose,
    looked_at,
    run,
    send,
    written_down,
)
from tests.browser.broken import OPEN, mend, poison
from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.browser.test_consumers import LONGER, figure, live, pay
from tests.browser.test_events import refused, spoil
from tests.engine import until

pytestmark = pytest.mark.usefixtures("nothing_left")

ACTS = "SELECT count(*) FROM outbox_act"


def test_a_letter_is_discarded_with_a_reason_and_what_waited_runs(site: Site, open_page: OpenPage) -> None:
    (payment,) = poison(site, payments=1)
    page = open_page("staff", f"{LETTERS}?consumer=orders")
    choose(page, "orders", "Discard, and let the keys go on")
    expect(page.get_by_text("Discards 1 event of 1 key; 1 waiting event will then run")).to_be_visible()
    expect(page.get_by_role("region", name="What is acted on")).to_contain_text(payment)
    page.get_by_role("button", name="Discard dead letters").click()
    expect(page.get_by_label("Reason")).to_be_focused()  # the browser asks for it, and nothing is sent
    assert site.query(f"{OPEN} AND consumer = 'orders'") == [(1,)]
    send(page, "Discard dead letters", "the <b>merchant</b> has gone")
    expect(page.get_by_text(f"orders, {payment}: It is discarded; 1 that waited ran.")).to_be_visible()
    letter = f"SELECT state FROM outbox_dead_letter WHERE consumer = 'orders' AND key = '{payment}'"
    assert site.query(letter) == [("discarded",)]
    held = "SELECT count(*) FROM {} WHERE consumer = 'orders' AND key = '" + payment + "'"
    assert site.query(held.format("outbox_waiting_event")) == [(0,)]
    assert site.query(held.format("outbox_parked_key")) == [(0,)]
    # The refund of an order that never was made makes none.
    assert not site.query(f"SELECT id FROM orders_order WHERE payment_id = '{payment}'")
    written_down(page, "staff", "discard", "the <b>merchant</b> has gone", "discarded")


def test_a_dry_run_says_what_would_come_of_it_and_keeps_nothing(site: Site, open_page: OpenPage) -> None:
    (payment,) = poison(site, payments=1)
    before = site.query(ACTS)
    letter = f"SELECT state, attempts FROM outbox_dead_letter WHERE consumer = 'orders' AND key = '{payment}'"
    as_it_was = site.query(letter)
    page = open_page("staff", f"{LETTERS}?consumer=orders")

    def try_out(came: str) -> None:
        choose(page, "orders", "Dry run: what a replay would do")
        expect(page.get_by_text("in a transaction of its own, which is taken back")).to_be_visible()
        send(page, "Try a replay out", "")
        expect(page.get_by_text(f"orders, {payment}: nothing was kept. {came}")).to_be_visible()

    try_out("It died again: ContractViolation")
    mend(site)
    try_out("It has been processed; 1 that waited ran.")
    assert site.query(letter) == as_it_was
    assert as_it_was[0][0] == "open"
    behind = f"SELECT count(*) FROM outbox_waiting_event WHERE consumer = 'orders' AND key = '{payment}'"
    assert site.query(behind) == [(1,)]
    assert not site.query(f"SELECT id FROM orders_order WHERE payment_id = '{payment}'")
    # Nothing was done, of which anything could be written down.
    assert site.query(ACTS) == before


def test_a_job_is_stopped_and_its_letters_stay_open(site: Site, open_page: OpenPage) -> None:
    poison(site, payments=2, refunds=False)
    wanted = {"consumer": "loyalty", "reason": "the wrong ones", "shown": 2}
    job = site.post("staff", "/api/dead-letters/replay/", wanted)["id"]
    page = open_page("staff", JOBS)
    looked_at(page, "jobs")
    choose(page, "the wrong ones", "Stop, after the letter in hand")
    expect(page.get_by_text("the letters that they have not come to stay open")).to_be_visible()
    expect(page.get_by_role("region", name="What is acted on")).to_contain_text("0 of 2")
    send(page, "Stop jobs", "a <b>mistake</b>")
    expect(page.get_by_text("replay by staff: 0 of 2: it is stopped.")).to_be_visible()
    expect(page.locator("#result_list tr", has_text="the wrong ones")).to_contain_text("Stopped")
    ended = site.query(f"SELECT state, ended_by FROM outbox_repair_job WHERE id = '{job}'")
    assert ended == [("stopped", "staff")]
    assert site.query(f"{OPEN} AND consumer = 'loyalty'") == [(2,)]
    written_down(page, "staff", "replay", "a <b>mistake</b>", "stopped")


def test_what_kafka_refused_is_sent_again_once_it_can_be(site: Site, open_page: OpenPage) -> None:
    event_id = refused(site)
    page = open_page("staff", f"{REFUSALS}?q={event_id}")
    looked_at(page, "refusals")
    choose(page, "payments", "Send again, with what is held behind")
    expect(page.get_by_text("Sends 1 event once more, and then what is held behind")).to_be_visible()
    expect(page.get_by_role("region", name="What is acted on")).to_contain_text(event_id)
    spoil(site, event_id, "convert_to(trim(convert_from(payload, 'UTF8')), 'UTF8')")
    send(page, "Send refused events again", "there is <b>room</b> now")
    expect(page.get_by_text("1 will be sent as soon as a relay comes to it.")).to_be_visible()
    done = f"SELECT count(*) FROM outbox_inbox WHERE event_id = '{event_id}' AND outcome = 'processed'"
    until(lambda: site.query(done) == [(3,)], seconds=60)
    assert not site.query(f"SELECT 1 FROM outbox_refusal WHERE event_id = '{event_id}'")
    written_down(page, "staff", "resend", "there is <b>room</b> now", "asked")


def test_what_kafka_refused_is_discarded_and_a_placeholder_goes_out(site: Site, open_page: OpenPage) -> None:
    event_id = refused(site)
    page = open_page("staff", f"{REFUSALS}?q={event_id}")
    choose(page, "payments", "Discard: a placeholder goes in its place")
    expect(page.get_by_text("Gives up 1 event for good: a placeholder with the reason goes")).to_be_visible()
    page.get_by_role("button", name="Discard refused events").click()
    expect(page.get_by_label("Reason")).to_be_focused()  # the browser asks for it, and nothing is sent
    send(page, "Discard refused events", "too large for any <b>reader</b>")
    expect(page.get_by_text("1 will be sent as soon as a relay comes to it.")).to_be_visible()
    passed = f"SELECT outcome, count(*) FROM outbox_inbox WHERE event_id = '{event_id}' GROUP BY 1"
    until(lambda: site.query(passed) == [("unhandled", 3)], seconds=60)
    assert not site.query(f"SELECT 1 FROM outbox_refusal WHERE event_id = '{event_id}'")
    written_down(page, "staff", "discard", "too large for any <b>reader</b>", "asked")


def test_an_alarm_is_silenced_for_some_hours_and_the_silence_ended(site: Site, open_page: OpenPage) -> None:
    lasts = "cause = 'no_relay' AND ended_at IS NULL"
    silence = (
        "SELECT silenced_by, silenced_why, round(extract(epoch FROM silenced_until - now()) / 3600)"
        f" FROM outbox_alarm WHERE {lasts}"
    )
    site.end("relay")
    try:
        until(lambda: site.query(silence), seconds=60)
        page = open_page("staff", ALARMS)
        looked_at(page, "alarms")

        def silence_it(hours: str, reason: str) -> None:
            # What is over stays in the list, behind what is wrong now.
            row = page.locator("#result_list tr", has_text="No relay runs").first
            row.locator("input.action-select").check()
            run(page, "Silence: nobody is told for some hours")
            page.get_by_label("For so many hours").fill(hours)
            send(page, "Silence an alarm", reason)

        silence_it("many", "a planned stop")
        expect(page.get_by_role("alert")).to_contain_text("Say a number of hours, up to")
        assert site.query(silence) == [("", "", None)]
        page.get_by_label("For so many hours").fill("2")
        send(page, "Silence an alarm", "a <b>planned</b> stop")
        expect(page.get_by_text("No relay runs: nobody is told of it until")).to_be_visible()
        assert site.query(silence) == [("staff", "a <b>planned</b> stop", 2)]
        written_down(page, "staff", "silence", "a <b>planned</b> stop", "silenced")
        page.goto(ALARMS)
        silence_it("0", "it takes longer")
        expect(page.get_by_text("No relay runs: people are told of it.")).to_be_visible()
        assert site.query(silence) == [("", "", None)]
        written_down(page, "staff", "silence", "it takes longer", "unsilenced")
    finally:
        site.start("relay")
    until(lambda: not site.query(f"SELECT 1 FROM outbox_alarm WHERE {lasts}"), seconds=60)


def test_a_consumer_is_moved_after_it_was_shown_where_to_and_while_it_is_stopped(
    site: Site, open_page: OpenPage
) -> None:
    moment = datetime.now(UTC)
    heard = "SELECT count(*) FROM outbox_inbox WHERE consumer = 'payments'"
    [(earlier,)] = site.query(heard)
    payment = pay(site)
    site.post("first", f"/api/payments/{payment}/validate/", {})
    [(before,)] = until(lambda: [row for row in site.query(heard) if row[0] > earlier], seconds=60)
    page = open_page("staff", CONSUMERS)

    def look(to: str) -> None:
        page.get_by_label("To, with its offset from UTC").fill(to)
        page.get_by_role("button", name="See what it would do").click()

    def move() -> None:
        choose(page, "payments", "Move to another time (while it is stopped)")
        look(moment.isoformat())
        shown = page.get_by_role("status")
        expect(shown).to_contain_text("1 come again, of which 1 are known; 0 are skipped")
        send(page, "Move a consumer", "to see that <b>nothing</b> happens twice")

    choose(page, "payments", "Move to another time (while it is stopped)")
    look("yesterday")
    expect(page.get_by_role("alert")).to_be_visible()
    page.goto(CONSUMERS)
    acts = site.query(ACTS)
    move()
    expect(page.get_by_text("Instances of payments are running")).to_be_visible()
    assert site.query(ACTS) == acts
    assert site.end("payments") == 0
    try:
        move()
        expect(page.get_by_text("1 records come again, 0 are skipped.")).to_be_visible()
        written_down(page, "staff", "seek", "to see that <b>nothing</b> happens twice", "moved")
        page.goto("/consumers/payments/")
        live(page)
        expect(figure(page, "payments", "Lag")).to_have_text("1")
    finally:
        site.start("payments")
    expect(figure(page, "payments", "Lag")).to_have_text("0", timeout=LONGER)
    assert site.query(heard) == [(before,)]


def test_a_projection_is_built_again_and_a_half_built_one_given_up(site: Site, open_page: OpenPage) -> None:
    pay(site)
    # Without the retired ones of other tests' rebuilds. The very first has no row until a second one is live.
    generations = (
        "SELECT state, generation FROM outbox_generation"
        " WHERE consumer = 'analytics' AND state <> 'retired' ORDER BY generation"
    )
    page = open_page("staff", CONSUMERS)
    region = page.get_by_role("region", name="What is acted on")

    def rebuild(reason: str) -> None:
        page.goto(CONSUMERS)
        choose(page, "analytics", "Rebuild: build the projection again")
        expect(page.get_by_text("into a new generation, which then replaces the live one")).to_be_visible()
        expect(region.locator("tbody td")).to_have_text(["analytics", "yes", "nothing"])
        send(page, "Rebuild consumers", reason)
        expect(page.get_by_text("analytics: it will be built again.")).to_be_visible()

    rebuild("wrong <b>sums</b>")
    [*_, (state, half)] = site.query(generations)
    assert state == "building"
    written_down(page, "staff", "rebuild", "wrong <b>sums</b>", "begun")
    page.goto(CONSUMERS)
    choose(page, "analytics", "Give up a half-built rebuild")
    expect(region).to_contain_text(f"generation {half}")
    send(page, "Give up rebuilds", "not <b>today</b>")
    expect(page.get_by_text(f"generation {half} is given up; a worker removes it.")).to_be_visible()
    assert site.query(generations)[-1] == ("abandoned", half)
    written_down(page, "staff", "abandon", "not <b>today</b>", "abandoned")
    site.start("worker")
    site.start("beat")
    try:
        until(lambda: ("abandoned", half) not in site.query(generations), seconds=120)
        before = site.query(generations)
        assert ("building", half) not in before
        rebuild("today after all")
        until(lambda: [state for state, _ in site.query(generations)] == ["live"], seconds=120)
        assert site.query(generations) != before
    finally:
        site.end("beat")
        site.end("worker")
    written_down(page, "staff", "rebuild", "today after all", "rebuilt")
