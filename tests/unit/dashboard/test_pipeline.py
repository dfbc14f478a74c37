"""What the pipeline says of what was measured."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pytest_django import Settings

from dashboard.behind import Behind
from dashboard.formats import Bounded
from dashboard.hints import HINTS
from dashboard.measure import DatabaseSample, KafkaSample
from dashboard.pipeline import RELAY_LIMIT, Pipeline, Stage, pipeline
from dashboard.sampler import Flow, Reading
from dashboard.selectors import Delays, Processed, RelayState, Written
from outbox.pausing import ITSELF, Pause
from outbox.positions import AlarmCause
from outbox.registry import all_consumers

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=3)
MOMENT = timedelta(milliseconds=8)
WELL = Processed(per_second=12.0, fresh=12, delays=Delays(MOMENT, 2 * MOMENT))
NONE = (Bounded(0), Bounded(0))

LEVEL = Behind(members=1)


def lagging(**behind: Behind) -> dict[str, Behind]:
    return {**(DATABASE.behind or {}), **behind}


DATABASE = DatabaseSample(
    at=NOW,
    written=Written({"payments": 12.0, "orders": 6.0}, {"payments": 12}),
    waiting=Bounded(0),
    oldest_waiting=None,
    refused=Bounded(0),
    relay=RelayState(8, 8, Delays(MOMENT, MOMENT), per_second=3.0),
    processed={consumer.name: WELL for consumer in all_consumers()},
    aside={"orders": NONE, "loyalty": NONE},
    behind={consumer.name: LEVEL for consumer in all_consumers()},
    events="",
)
KAFKA = KafkaSample(at=NOW, topics=4, partitions=13, records=900, per_second=18.0, fresh=18)


def drawn(
    database: DatabaseSample | None = DATABASE,
    kafka: KafkaSample | None = KAFKA,
    *,
    database_away: datetime | None = None,
    kafka_away: datetime | None = None,
    acts: bool = True,
) -> Pipeline:
    flow = Flow(
        NOW,
        Reading(database, NOW, database_away, "refused by host 10.0.0.7"),
        Reading(kafka, NOW, kafka_away, "no broker at 10.0.0.8"),
    )
    return pipeline(flow, acts=acts)


def stage(picture: Pipeline, name: str) -> Stage:
    return next(stage for stage in (*picture.stages, *picture.lanes) if stage.name == name)


def figure(stage: Stage, key: str) -> str:
    return next(str(figure.text) for figure in stage.figures if figure.key == key)


def beyond(lane: Stage) -> bool:
    return any(figure.beyond for figure in lane.figures)


def test_all_is_well() -> None:
    picture = drawn()
    assert {each.state for each in (*picture.stages, *picture.lanes)} == {"ok"}
    assert picture.notices == ()
    assert figure(stage(picture, "payments"), "rate") == "12 /s"
    assert figure(stage(picture, "outbox"), "rate") == "18 /s"
    assert figure(stage(picture, "relay"), "rate") == "18 /s"
    assert figure(stage(picture, "orders"), "delay") == "8 ms"
    assert stage(picture, "orders").word == "on time"


def test_before_the_first_answer_nothing_is_known() -> None:
    picture = pipeline(None, acts=True)
    figures = [each for part in (*picture.stages, *picture.lanes) for each in part.figures]
    assert figures
    assert not any(each.text.known for each in figures)


def test_what_waits_too_long_for_a_relay_is_stuck() -> None:
    picture = drawn(replace(DATABASE, waiting=Bounded(40), oldest_waiting=timedelta(seconds=6)))
    assert (stage(picture, "outbox").state, stage(picture, "relay").state) == ("warn", "warn")
    picture = drawn(replace(DATABASE, waiting=Bounded(40), oldest_waiting=timedelta(seconds=1)))
    assert (stage(picture, "outbox").state, stage(picture, "relay").state) == ("ok", "ok")


def test_no_relay_is_said_with_what_to_do() -> None:
    picture = drawn(replace(DATABASE, relay=RelayState(0, 8, Delays(), 0.0)))
    assert (stage(picture, "relay").state, stage(picture, "relay").word) == ("bad", "not running")
    assert "run_relay" in picture.notices[0].text


def test_shards_that_no_relay_has_are_said() -> None:
    picture = drawn(replace(DATABASE, relay=RelayState(5, 8, Delays(), 0.0)))
    assert (stage(picture, "relay").state, stage(picture, "relay").word) == ("warn", "3 of 8 shards wait")


def test_what_waits_for_kafka_beyond_its_limit_is_marked() -> None:
    def waits(waited: timedelta) -> list[bool]:
        relay = RelayState(8, 8, Delays(waited, waited), 3.0)
        picture = drawn(replace(DATABASE, waiting=Bounded(4), oldest_waiting=waited, relay=relay))
        parts = (("outbox", "oldest"), ("relay", "delay"))
        return [one.beyond for part, key in parts for one in stage(picture, part).figures if one.key == key]

    assert f"longer than {RELAY_LIMIT.total_seconds():g} s is stuck" in HINTS["outbox"]
    assert waits(RELAY_LIMIT) == [False, False]
    assert waits(RELAY_LIMIT + MOMENT) == [True, True]


def test_a_consumer_beyond_its_limit_is_late_and_one_that_does_nothing_stands_still() -> None:
    waiting = lagging(orders=replace(LEVEL, events=214, seconds=18.0))
    slow = drawn(replace(DATABASE, behind=waiting))
    assert (stage(slow, "orders").state, stage(slow, "orders").word) == ("warn", "late")
    assert (figure(stage(slow, "orders"), "lag"), figure(stage(slow, "orders"), "delay")) == ("214", "18 s")
    assert beyond(stage(slow, "orders"))
    assert not beyond(stage(slow, "loyalty"))
    idle = {"orders": Processed(), "loyalty": WELL}
    still = drawn(replace(DATABASE, behind=waiting, processed=idle))
    assert (stage(still, "orders").state, stage(still, "orders").word) == ("bad", "standing still")
    assert stage(still, "loyalty").state == "ok"


def test_a_consumer_of_which_no_rate_is_known_is_not_said_to_stand_still() -> None:
    waiting = lagging(orders=replace(LEVEL, events=214, seconds=18.0))
    for untold in ({"orders": Processed(per_second=None)}, {"loyalty": WELL}):
        lane = stage(drawn(replace(DATABASE, behind=waiting, processed=untold)), "orders")
        assert (lane.state, lane.word) == ("warn", "late")
        [rate] = [each for each in lane.figures if each.key == "rate"]
        assert not rate.text.known
    quiet = stage(drawn(replace(DATABASE, processed={"orders": Processed(per_second=None)})), "orders")
    assert (quiet.state, quiet.word) == ("none", "not known")


def test_a_topic_beside_a_busy_one_is_unknown_and_not_quiet() -> None:
    busy = Written({"orders": 9_000.0}, {}, cut=True)
    [rate] = stage(drawn(replace(DATABASE, written=busy)), "payments").figures
    assert not rate.text.known
    assert figure(stage(drawn(replace(DATABASE, written=busy)), "outbox"), "rate") == "9,000 /s"


def test_an_age_that_nobody_has_told_is_unknown_and_not_nothing() -> None:
    untold = drawn(replace(DATABASE, behind=lagging(orders=replace(LEVEL, events=214, seconds=None))))
    [delay] = [each for each in stage(untold, "orders").figures if each.key == "delay"]
    assert not delay.text.known
    assert figure(stage(untold, "orders"), "lag") == "214"
    assert (stage(untold, "orders").state, stage(untold, "orders").word) == ("none", "not known")
    nothing = drawn(replace(DATABASE, behind=lagging(orders=replace(LEVEL, events=None, seconds=None))))
    assert not any(each.text.known for each in stage(nothing, "orders").figures if each.key != "rate")
    waiting = drawn(replace(DATABASE, waiting=Bounded(3)))
    [oldest] = [each for each in stage(waiting, "outbox").figures if each.key == "oldest"]
    assert not oldest.text.known


def test_a_consumer_that_is_not_there_is_said_before_all_else_with_how_to_start_it() -> None:
    letters = {"orders": (Bounded(1), Bounded(2)), "loyalty": NONE}
    gone = replace(LEVEL, events=3, seconds=18.0, members=0)
    lane = stage(drawn(replace(DATABASE, behind=lagging(orders=gone), aside=letters)), "orders")
    assert (lane.state, lane.word) == ("bad", "not running")
    assert lane.remedy is not None
    assert lane.remedy.command == "manage.py run_consumer orders"


def test_in_a_demo_what_is_broken_is_mended_in_the_chaos_panel(settings: Settings) -> None:
    settings.DEMO_CONTROL = "/somewhere/control.sock"
    gone = replace(LEVEL, members=0)
    picture = drawn(
        replace(DATABASE, behind=lagging(orders=gone), relay=RelayState(0, 8, Delays(), 0.0)),
        kafka_away=EARLIER,
    )
    for name, part in (("orders", "orders-1"), ("relay", "relay-1"), ("kafka", "kafka")):
        remedy = stage(picture, name).remedy
        assert remedy is not None
        assert remedy.address == f"/chaos/#part-{part}"


def test_a_pause_is_said_with_who_since_when_and_why() -> None:
    for by, state, word in (("an operator", "warn", "paused"), (ITSELF, "bad", "paused itself")):
        paused = lagging(orders=replace(LEVEL, pause=Pause(EARLIER, by, "a bad deploy")))
        picture = drawn(replace(DATABASE, behind=paused))
        lane = stage(picture, "orders")
        assert (lane.state, lane.word) == (state, word)
        assert lane.remedy is not None
        assert lane.remedy.address == "/consumers/orders/"
        [notice] = picture.notices
        assert (notice.since, notice.reason) == (EARLIER, "a bad deploy")


def test_a_pause_without_an_instance_is_said_as_both() -> None:
    for by, word in (("an operator", "paused, no instance"), (ITSELF, "paused itself, no instance")):
        gone = lagging(orders=replace(LEVEL, members=0, pause=Pause(EARLIER, by, "")))
        lane = stage(drawn(replace(DATABASE, behind=gone)), "orders")
        assert (lane.state, lane.word) == ("bad", word)
        assert lane.remedy is not None
        assert lane.remedy.command == "manage.py run_consumer orders"


def test_a_few_events_on_their_way_are_not_falling_behind() -> None:
    alarmed = replace(LEVEL, events=1, alarms=frozenset({AlarmCause.FALLING_BEHIND}))
    at_rate = {"orders": replace(WELL, per_second=11.0), "loyalty": WELL}
    lane = stage(drawn(replace(DATABASE, behind=lagging(orders=alarmed), processed=at_rate)), "orders")
    assert (lane.state, lane.word) == ("ok", "on time")
    # Of the five seconds that an event may take 55 are done in time.
    for events, word in ((55, "on time"), (56, "falling behind")):
        behind = lagging(orders=replace(alarmed, events=events))
        assert stage(drawn(replace(DATABASE, behind=behind, processed=at_rate)), "orders").word == word
    still = {"orders": Processed(), "loyalty": WELL}
    lane = stage(drawn(replace(DATABASE, behind=lagging(orders=alarmed), processed=still)), "orders")
    assert (lane.state, lane.word) == ("warn", "falling behind")


def test_while_kafka_is_away_neither_the_relay_nor_a_consumer_is_blamed() -> None:
    for behind in (
        replace(LEVEL, unsent=18.0),
        replace(LEVEL, events=3, seconds=18.0),
        replace(LEVEL, events=3, alarms=frozenset({AlarmCause.FALLING_BEHIND})),
    ):
        still = {"orders": Processed(), "loyalty": WELL}
        sample = replace(DATABASE, behind=lagging(orders=behind), processed=still)
        lane = stage(drawn(sample, kafka_away=EARLIER), "orders")
        assert (lane.state, lane.word, lane.remedy) == ("warn", "waits for Kafka", None)
        assert stage(drawn(sample), "orders").word != "waits for Kafka"


def test_who_may_only_look_is_offered_nothing_to_do(settings: Settings) -> None:
    settings.DEMO_CONTROL = "/somewhere/control.sock"
    gone, paused = replace(LEVEL, members=0), replace(LEVEL, pause=Pause(EARLIER, "anna", ""))
    for sample in (
        replace(DATABASE, behind=lagging(orders=gone, loyalty=paused), refused=Bounded(3)),
        replace(DATABASE, aside={"orders": (Bounded(1), Bounded(2)), "loyalty": NONE}),
        replace(DATABASE, relay=RelayState(0, 8, Delays(), 0.0)),
    ):
        picture = drawn(sample, kafka_away=EARLIER, acts=False)
        every = (*picture.stages, *picture.lanes)
        assert not any(each.panel for each in every)
        remedies = {each.name: each.remedy for each in every if each.remedy}
        assert {remedy.text for remedy in remedies.values()} <= {"See why", "See alerts"}
        assert not any(remedy.command or "chaos" in remedy.address for remedy in remedies.values())
        assert "orders" in remedies or "relay" in remedies
        assert any(each.panel for each in drawn(sample).stages)


def test_falling_behind_and_waiting_for_the_relay_are_told_apart() -> None:
    slower = replace(LEVEL, events=90, alarms=frozenset({AlarmCause.FALLING_BEHIND}))
    unsent = replace(LEVEL, unsent=18.0)
    picture = drawn(replace(DATABASE, behind=lagging(orders=slower, loyalty=unsent)))
    assert (stage(picture, "orders").state, stage(picture, "orders").word) == ("warn", "falling behind")
    assert (stage(picture, "loyalty").state, stage(picture, "loyalty").word) == (
        "warn",
        "waits for the relay",
    )
    assert figure(stage(picture, "loyalty"), "delay") == "18 s"


def test_parts_lead_to_their_pages() -> None:
    picture = drawn()
    assert [each.address for each in picture.stages] == ["/payments/", "/events/", "/alerts/", "/topics/"]
    assert stage(picture, "loyalty").address == "/consumers/loyalty/"


def test_what_was_late_is_late_no_more_once_nothing_is_left() -> None:
    slow = Delays(timedelta(seconds=9), timedelta(seconds=9))
    at_work = drawn(replace(DATABASE, processed={"orders": Processed(2.0, 2, slow), "loyalty": WELL}))
    lane = stage(at_work, "orders")
    assert (lane.state, lane.word) == ("ok", "caught up; the last events were late")
    assert (lane.remedy, figure(lane, "delay"), beyond(lane)) == (None, "9.0 s", False)
    done = drawn(replace(DATABASE, processed={"orders": Processed(0.0, 0, slow), "loyalty": WELL}))
    assert (stage(done, "orders").state, stage(done, "orders").word) == ("ok", "caught up")


def test_nothing_moves_where_nothing_passes() -> None:
    picture = drawn(replace(DATABASE, relay=RelayState(0, 8, Delays(), 0.0)), replace(KAFKA, fresh=0))
    assert {each.name: each.moved for each in picture.stages} == {
        "payments": 12,
        "outbox": 0,
        "relay": 0,
        "kafka": 12,
    }


def test_dead_letters_and_parked_keys_stand_out() -> None:
    picture = drawn(replace(DATABASE, aside={"orders": (Bounded(1), Bounded(2)), "loyalty": NONE}))
    assert stage(picture, "orders").state == "dead"
    assert stage(picture, "orders").word == "2 dead letters, 1 key parked"


def test_what_helps_leads_to_the_page_that_shows_what_is_wrong() -> None:
    def remedy(database: DatabaseSample, name: str) -> str:
        found = stage(drawn(database), name).remedy
        assert found is not None
        return found.address

    both = replace(DATABASE, aside={"orders": (Bounded(1), Bounded(2)), "loyalty": NONE})
    assert remedy(both, "orders") == "/dead-letters/?consumer=orders"
    gap_alone = replace(DATABASE, aside={"orders": (Bounded(1), Bounded(0)), "loyalty": NONE})
    assert remedy(gap_alone, "orders") == "/dead-letters/parked/?consumer=orders"
    assert remedy(replace(DATABASE, refused=Bounded(2)), "outbox") == "/events/?state=refused"


def test_a_part_that_is_away_keeps_its_last_figures_and_says_since_when() -> None:
    picture = drawn(kafka_away=EARLIER)
    assert stage(picture, "kafka").state == "bad"
    assert figure(stage(picture, "kafka"), "records") == "900"
    # Not how fast the topics grow, which is unknown: what was traced in the database.
    assert figure(stage(picture, "relay"), "rate") == "3.0 /s"
    assert stage(picture, "payments").state == "ok"
    [notice] = picture.notices
    assert notice.since == EARLIER
    assert "Kafka" in notice.text
    picture = drawn(database_away=EARLIER)
    assert {stage(picture, name).state for name in ("payments", "outbox", "relay", "orders")} == {"bad"}
    assert stage(picture, "kafka").state == "ok"


def test_what_is_not_known_in_time_is_said_by_itself_and_the_rest_goes_on() -> None:
    slow = replace(
        DATABASE,
        waiting=None,
        relay=None,
        aside=None,
        behind=lagging(orders=replace(LEVEL, members=0)),
        slow={"the relay": EARLIER},
    )
    picture = drawn(slow)
    for name, key in (("outbox", "waiting"), ("outbox", "oldest"), ("relay", "delay"), ("orders", "delay")):
        [shown] = [each for each in stage(picture, name).figures if each.key == key]
        assert not shown.text.known, (name, key)
    for name in ("outbox", "relay", "loyalty"):
        assert (stage(picture, name).state, stage(picture, name).word) == ("none", "not known")
    assert stage(picture, "orders").word == "not running"
    assert stage(picture, "payments").state == "ok"
    assert figure(stage(picture, "payments"), "rate") == "12 /s"
    [notice] = picture.notices
    assert "the relay" in notice.text
    assert notice.since == EARLIER
    for sample in (
        replace(DATABASE, written=None),
        replace(DATABASE, processed=None),
        replace(DATABASE, behind=None),
        replace(DATABASE, refused=None),
    ):
        every = drawn(sample)
        assert stage(every, "kafka").state == "ok"
        assert not any(each.state == "bad" for each in (*every.stages, *every.lanes))
