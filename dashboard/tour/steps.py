"""What each step of the tour says, and what is done in it."""

from dataclasses import dataclass
from datetime import datetime

from dashboard import remedies
from dashboard.chaos.channel import in_demo
from dashboard.chaos.poison import CONSUMER as POISONED
from dashboard.operators import may_act
from dashboard.remedies import Remedy
from dashboard.tour.place import STEPS, Place
from dashboard.tour.progress import STOPPED, Goal, goals_of, letter_of
from dashboard.tour.words import WORDS
from outbox.models import LetterState


@dataclass(frozen=True, slots=True)
class Act:
    """A button of a step: a form that posts `value` to `address`. `danger` that it breaks something.

    permission  of `outbox`, which it takes beside being an operator
    """

    id: str
    title: str
    address: str
    value: str = ""
    danger: bool = False
    permission: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step as it is now. `over` when all of its goals are reached; `next` is None after the last.

    commands  what to type where there are no buttons
    links     where more is to be seen
    """

    place: Place
    title: str
    told: str
    goals: list[Goal]
    acts: list[Act]
    commands: list[str]
    links: list[Remedy]
    next: Place | None
    next_title: str

    @property
    def over(self) -> bool:
        """Whether all that is to be seen has been seen."""
        return all(goal.done for goal in self.goals)

    def acts_of(self, user: object) -> list[Act]:
        """Those of its acts that this user may do."""
        return [act for act in self.acts if may_act(user, act.permission)]

    @property
    def mark(self) -> str:
        """The same as long as nothing has changed."""
        return ";".join(f"{goal.done:d}{goal.detail}" for goal in self.goals)


def step_at(place: Place, *, now: datetime) -> Step:
    """The step at this place."""
    goals = goals_of(place)
    last = place.number == STEPS
    return Step(
        place=place,
        title=WORDS[place.number - 1].title,
        told=WORDS[place.number - 1].told,
        goals=goals,
        acts=_acts(place, goals) if in_demo() else [],
        commands=[] if in_demo() else _commands(place),
        links=_links(place),
        next=None if last else place.at(place.number + 1, now=now),
        next_title="" if last else WORDS[place.number].title,
    )


def _acts(place: Place, goals: list[Goal]) -> list[Act]:
    """What is still to be done in it, one click each; paying is offered again and again."""
    pay = Act("tour-pay", "Pay 12.50 EUR", "tour-pay")
    if place.number == 1:
        return [pay]
    if place.number == 2:
        stop = Act("tour-stop", f"Stop {STOPPED}", "chaos-act", f"stop {STOPPED}-1", danger=True)
        return [pay] if goals[0].done else [stop]
    if place.number == 3:
        return [] if goals[0].done else [pay]
    if place.number == 4:
        return (
            []
            if goals[0].done
            else [Act("tour-start", f"Start {STOPPED}", "chaos-act", f"start {STOPPED}-1")]
        )
    letter = letter_of(place)
    if letter is None or letter.state != LetterState.OPEN:
        return [] if letter else [Act("tour-poison", "Poison an event", "chaos-poison", danger=True)]
    return [
        Act("tour-repair", "Correct its data and replay it", "tour-repair", permission="replay_deadletter")
    ]


def _commands(place: Place) -> list[str]:
    run = f"manage.py run_consumer {STOPPED}"
    return {
        1: [],
        2: [f"Ctrl-C where {run} runs"],
        3: ["manage.py consumers list"],
        4: [run],
        5: ["manage.py replay --help"],
    }[place.number]


def _links(place: Place) -> list[Remedy]:
    stopped = Remedy(f"{STOPPED.capitalize()}'s page", remedies.address_of(STOPPED))
    return {
        1: [],
        2: [],
        3: [stopped],
        4: [stopped],
        5: [Remedy(f"Dead letters of {POISONED}", remedies.letters_of(POISONED))],
    }[place.number]
