"""JSON that nobody thought of, as clients may send it: numbers of every form, nesting, sizes, Unicode, and
fields that are missing or too many."""

import random

from .peer import exact

INTEGERS = [0, 1, -1, 7, 2**31, 2**53 - 1, -(2**53) + 1]
# Only room versions 1 to 5, and content that is no event, have these.
ODD_NUMBERS = ["1.5", "0.1", "1.0", "-0.0", "1e-05", "1e-7", "1e+16", "1E5", "1e300", "1.50", "10000000000.0"]
ODD_NUMBERS += ["9007199254740993", "-9007199254740993", "9223372036854775807"]
ALPHABETS = ["abc", "äöüß", "日本語", "🦀😀🏳️‍🌈", "\u202eRTL\u200f", '\t\n"\\/\u0001\u007f', "ﬁ\ufeff\uffff"]
KEYS = [
    "",
    "a",
    "b",
    "body",
    "msgtype",
    "type",
    "m.relates_to",
    "unsigned",
    "signatures",
    "é",
    "🦀",
    "｡",
    "0",
]


class Generator:
    """Makes values from a seed, so that a failure can be repeated."""

    def __init__(self, seed: int, odd_numbers=tuple(ODD_NUMBERS)):
        self.random = random.Random(seed)
        self.odd_numbers = odd_numbers

    def text(self, longest=40) -> str:
        alphabet = self.random.choice(ALPHABETS)
        return "".join(self.random.choices(alphabet, k=self.random.randint(0, longest)))

    def number(self, any_form: bool):
        if any_form and self.random.random() < 0.5:
            return exact(self.random.choice(self.odd_numbers))
        return self.random.choice(INTEGERS)

    def value(self, any_form: bool, levels=4):
        kind = self.random.randrange(8 if levels else 5)
        if kind == 0:
            return self.random.choice([None, True, False])
        if kind in (1, 2):
            return self.number(any_form)
        if kind in (3, 4):
            return self.text()
        if kind == 5:
            return [self.value(any_form, levels - 1) for _ in range(self.random.randint(0, 4))]
        return self.object(any_form, levels - 1)

    def object(self, any_form: bool, levels=4) -> dict:
        keys = self.random.sample(KEYS, self.random.randint(0, 5))
        return {key: self.value(any_form, levels) for key in keys}

    def content(self, any_form: bool) -> dict:
        """The content of an event or of a message to a device."""
        content = self.object(any_form)
        if self.random.random() < 0.5:
            content |= {"msgtype": "m.text", "body": self.text()}
        if self.random.random() < 0.1:
            nested = self.number(any_form)
            for _ in range(self.random.randint(10, 80)):
                nested = self.random.choice([[nested], {self.random.choice(KEYS): nested}])
            content["nested"] = nested
        if self.random.random() < 0.05:
            content["long"] = "x" * self.random.randint(10_000, 50_000)
        # They mean something to the servers, which then may refuse the event or show it otherwise.
        for key in ("m.relates_to", "signatures", "unsigned"):
            content.pop(key, None)
        return content
