"""What can be seen of a text, and what cannot: one answer for the API and for the pages."""

import re

# For classes of regular expressions, in Python and in the OpenAPI document.
CONTROLS = r"\u0000-\u001f\u007f-\u009f"
# White space, and what Unicode has readers not show (Default_Ignorable_Code_Point), in its basic plane: zero
# widths, marks of direction, fillers, variation selectors; and the blank of Braille.
UNSEEN = (
    r"\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
NOTHING_SEEN = "Nothing of it can be seen."

_SEEN = re.compile(f"[^{UNSEEN}]")


def can_be_seen(text: str) -> bool:
    """Whether a reader sees at least one character of it."""
    return _SEEN.search(text) is not None
