"""What a correction changes, line by line."""

import difflib
from dataclasses import dataclass

MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of both texts, or of one: `mark` is empty, a minus or a plus."""

    mark: str
    text: str


def difference(original: str, corrected: str) -> list[Line] | None:
    """Both texts line by line; None when they are too long to compare."""
    before, after = original.splitlines(), corrected.splitlines()
    if len(before) + len(after) > MOST_LINES:
        return None
    lines: list[Line] = []
    # Not Differ, which looks for likeness within lines: many that are alike would take it minutes.
    for tag, first, last, start, end in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if tag == "equal":
            lines += [Line("", line) for line in before[first:last]]
        else:
            lines += [Line("-", line) for line in before[first:last]]
            lines += [Line("+", line) for line in after[start:end]]
    return lines
