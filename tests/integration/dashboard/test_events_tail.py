"""The live tail: what comes in is read once for all who ask the same, and all questions share a budget."""

import asyncio
import threading
from contextlib import aclosing
from functools import partial
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.test import AsyncClient
from django.urls import reverse

from accounts.models import User
from accounts.services import ensure_user
from dashboard.asking import FORGET, Turns
from dashboard.events.question import Question
from dashboard.events.tail import answer, live_events
from dashboard.live import NOTHING, LivePage, Regions
from tests.integration.dashboard.outbox_rows import publish_event, receive, write_event
from tests.integration.dashboard.test_sampler import in_thread


class Clock:
    """A clock that answers move on."""

    def __init__(self, takes: float) -> None:
        self.now, self.takes, self.asked = 100.0, takes, list[str]()

    def __call__(self) -> float:
        return self.now

    def answer(self, question: Question) -> Regions:
        self.asked.append(question.type)
        self.now += self.takes
        return {}


def questions(count: int) -> list[Question]:
    return [Question(type=f"t{number}") for number in range(count)]


def test_a_slow_question_rests() -> None:
    clock = Clock(takes=0.4)
    tail = Turns(clock.answer, clock=clock)
    for _ in range(41):
        tail.read(questions(1))
        clock.now += 1.0
    # A tenth of the time, not two fifths of it.
    assert 9 <= len(clock.asked) <= 12


def test_who_comes_while_the_last_one_who_left_is_still_read_for_gets_its_own_answer() -> None:
    reading, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def slow(question: Question) -> Regions:
        if question == left:
            reading.set()
            go_on.wait(0.5)  # for the other one is to wait for this
        else:
            go_on.set()
            over.wait(10)
        return {}

    def read_what_was_left() -> None:
        tail.read([left])
        over.set()

    left, comes = questions(2)
    tail = Turns(slow)
    thread = threading.Thread(target=read_what_was_left)
    thread.start()
    assert reading.wait(10)
    assert set(tail.read([comes])) == {comes}
    thread.join()


def test_many_questions_share_the_budget_in_turn() -> None:
    clock = Clock(takes=0.1)
    tail = Turns(clock.answer, clock=clock, budget=0.5)
    for _ in range(20):
        before = clock.now
        told = tail.read(questions(30))
        assert clock.now - before <= 0.5 + clock.takes
        clock.now = before + 1.0
    assert len(told) == 30
    # Nobody is left out, and nobody comes twice before another one comes.
    counts = [clock.asked.count(question.type) for question in questions(30)]
    assert max(counts) - min(counts) <= 1


def test_what_is_old_is_not_told_again() -> None:
    clock = Clock(takes=0.4)
    tail = Turns(clock.answer, clock=clock, budget=0.5)
    tail.read(questions(1))
    clock.now += FORGET
    told = tail.read([Question(type="first"), Question(type="next"), *questions(1)])
    assert questions(1)[0] not in told
    assert len(told) == 2


@pytest.mark.django_db(transaction=True)
async def test_two_hundred_who_ask_the_same_cost_one() -> None:
    """And rows change as what became of an event changes."""
    event_id: UUID = await in_thread(write_event)
    asked = 0

    def counted(question: Question) -> Regions:
        nonlocal asked
        asked += 1
        return answer(question)

    page = LivePage[Question]("events-test", {"events": Turns(counted).read}, interval=0.1)
    told: list[set[str]] = [set() for _ in range(200)]

    async def watch(number: int) -> None:
        async with aclosing(page.watch(Question())) as moments:
            async for moment in moments:
                if rows := moment.answers.get(Question(), NOTHING).regions.get("rows"):
                    told[number].add("processed" if "processed" in rows else "in the outbox")
                if told[number] == {"processed", "in the outbox"}:
                    return

    async with asyncio.timeout(60):
        watching = [asyncio.create_task(watch(number)) for number in range(200)]
        while not all(told):
            await asyncio.sleep(0.02)
        before = asked
        assert before < 50
        await in_thread(publish_event, event_id)
        for consumer in ("analytics", "loyalty", "orders"):
            await in_thread(receive, event_id, consumer)
        await asyncio.gather(*watching)
    assert page.viewers == 0
    assert not page.running


@pytest.mark.django_db(transaction=True)
async def test_the_stream_tells_what_fits_the_address() -> None:
    user: User = await sync_to_async(ensure_user)(username="viewer", password=None, groups=["viewer"])
    mine: UUID = await in_thread(partial(write_event, key="k-7"))
    others: UUID = await in_thread(partial(write_event, key="k-8"))
    client = AsyncClient(headers={"host": "localhost"})
    await client.aforce_login(user)
    answer = await client.get(reverse("events-stream"), {"q": "k-7"})
    assert isinstance(answer, StreamingHttpResponse)
    told = [""]

    async def read() -> None:
        async for part in answer:
            told.append(part.decode())  # noqa: PERF401  (as they come)

    reading = asyncio.create_task(read())
    async with asyncio.timeout(30):
        while "rows" not in told[-1]:
            await asyncio.sleep(0.02)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    text = "".join(told)
    assert str(mine) in text
    assert str(others) not in text
    async with asyncio.timeout(10):
        while live_events.viewers:
            await asyncio.sleep(0.02)
    assert not live_events.running


@pytest.mark.django_db
def test_a_state_that_has_passed_leaves_the_table() -> None:
    event_id = write_event()
    question = Question(status="pending", consumer="orders")
    assert str(event_id) in answer(question)["rows"]
    receive(event_id, "orders")
    assert str(event_id) not in answer(question)["rows"]
