"""Bodies that no command may accept, by what is wrong with them; each a clear 400 and nothing done."""

from typing import Any

# Raw: what is wrong with some of them no serialiser would write.
BAD_TEXTS: dict[str, str] = {
    "missing": "{}",
    "null": '{"reason": null}',
    "empty": '{"reason": ""}',
    "too long": '{"reason": "%s"}' % ("x" * 501),
    "far too long": '{"reason": "%s"}' % ("x" * 100_000),
    "too long in characters of four bytes": '{"reason": "%s"}' % ("\U0001f95a" * 501),
    "NUL": r'{"reason": "a\u0000b"}',
    "line feed": r'{"reason": "a\nb"}',
    "escape": r'{"reason": "a\u001b[31mb"}',
    "DEL": r'{"reason": "a\u007fb"}',
    "C1": r'{"reason": "a\u0085b"}',
    "raw control character": '{"reason": "a\x01b"}',
    "lone surrogate": r'{"reason": "a\ud800b"}',
    "surrogates the wrong way round": r'{"reason": "\udc00\ud800"}',
    "a blank": '{"reason": " "}',
    "blanks": r'{"reason": " \u00a0\u2003\u3000 "}',
    "zero widths": r'{"reason": "\u200b\u200d\ufeff\u2060"}',
    "marks of direction": r'{"reason": "\u202e\u2066\u200f\u061c"}',
    "fillers": r'{"reason": "\u3164\u115f\u2800\ufe0f"}',
    "number": '{"reason": 7}',
    "huge number": '{"reason": %s}' % ("9" * 4_000),
    "number too long for Python": '{"reason": %s}' % ("9" * 20_000),
    "float": '{"reason": 1.5}',
    "overflowing float": '{"reason": 1e999}',
    "NaN": '{"reason": NaN}',
    "boolean": '{"reason": true}',
    "list": '{"reason": ["a"]}',
    "object": '{"reason": {"a": "b"}}',
    "nested": '{"reason": ' + "[" * 200 + "]" * 200 + "}",
    "nested too deeply": '{"reason": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "unknown field": '{"reason": "a", "status": "refunded"}',
    "unknown field of a strange name": r'{"reason": "a", "\u0000\ud800": 1}',
    "another list": '["reason"]',
    "string": '"reason"',
    "nothing": "null",
    "not JSON": "reason=a",
    "cut off": '{"reason": "a',
    "not UTF-8": '{"reason": "\udcff"}',
}

GOOD_TEXTS = {
    "one character": "x",
    "longest": "x" * 500,
    "longest in characters of four bytes": "\U0001f95a" * 500,
    "emoji of several": "\U0001f469\u200d\U0001f469\u200d\U0001f466",
    "combining": "e\u0301" * 10,
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd",
    "markup": "<script>alert(1)</script>",
    "SQL": "'; DROP TABLE payments_payment; --",
    "spaces around": "  sorry  ",
}


def post_raw(client: Any, address: str, body: str, *, method: str = "post") -> Any:
    """Send a body as it is."""
    send = getattr(client, method)
    return send(address, body.encode(errors="surrogateescape"), content_type="application/json")
