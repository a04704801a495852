"""The floors of both tiers: a lower one never looks up. `docs/architecture.md` has the same lists."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.imports import Crate

ROOT = Path(__file__).resolve().parent.parent

# The largest circle of imports, in files, that one folder may have.
LARGEST_CIRCLE = 3


@dataclass(frozen=True)
class Tier:
    """One tier; `floors` go from low to high, and modules of one floor do not use each other.

    A module may be one of another, such as `federation/api`, which then stands on a floor of its own."""

    name: str
    source: str
    floors: tuple[tuple[str, ...], ...]

    def module(self, path: tuple[str, ...]) -> str:
        """Which of the modules in the lists a file belongs to."""
        listed = {module for floor in self.floors for module in floor}
        prefixes = ("/".join(path[:length]) for length in range(len(path), 0, -1))
        return next((prefix for prefix in prefixes if prefix in listed), path[0])

    def floor(self, path: tuple[str, ...]) -> int:
        return next(number for number, modules in enumerate(self.floors) if self.module(path) in modules)


EXTENSION = Tier(
    name="extension",
    source="pg_extension/src",
    floors=(
        ("base",),
        ("trie",),
        ("outbox",),
        ("room",),
        ("append",),
        ("intake",),
        ("read",),
        ("inspect",),
        ("client",),
        ("federation",),
    ),
)

SERVER = Tier(
    name="server",
    source="server/src",
    floors=(
        ("base",),
        ("config",),
        ("database",),
        ("hub",),
        ("calls",),
        ("federation",),
        ("accounts",),
        ("app",),
        ("http",),
        ("client", "federation/api", "admin"),
        ("commands",),
    ),
)

TIERS = [EXTENSION, SERVER]


@pytest.fixture(params=TIERS, ids=lambda tier: tier.name)
def tier(request) -> Tier:
    return request.param


@pytest.fixture
def crate(tier) -> Crate:
    return Crate(ROOT / tier.source)


def told(path: tuple[str, ...]) -> str:
    return "/".join(path) + ".rs"


def folder(path: tuple[str, ...], crate: Crate) -> tuple[str, ...]:
    """The folder of a module's file; the file that heads a folder belongs to it."""
    return path if crate.modules[path].children else path[:-1]


def test_each_module_stands_on_a_floor(tier, crate):
    found = {tier.module(path) for path in crate.modules}
    assert found == {module for floor in tier.floors for module in floor}


def test_no_floor_looks_up(tier, crate):
    wrong = [
        f"{told(path)} uses {told(used)}"
        for path, uses in crate.uses.items()
        for used in sorted(uses)
        if tier.floor(used) >= tier.floor(path) and tier.module(used) != tier.module(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_crosses_folders(tier, crate):
    wrong = [
        " ".join(map(told, sorted(circle)))
        for circle in crate.circles
        if len({folder(path, crate) for path in circle}) > 1
    ]
    assert not wrong, "\n".join(wrong)


def test_circles_are_small(tier, crate):
    wrong = [" ".join(map(told, sorted(circle))) for circle in crate.circles if len(circle) > LARGEST_CIRCLE]
    assert not wrong, "\n".join(wrong)


def test_methods_stand_where_their_type_does(tier, crate):
    """What other floors do with a type of a lower one is a function or a trait of theirs, so that imports
    show it."""
    wrong = []
    for path, module in crate.modules.items():
        for named in module.inherent_impls:
            home = crate.owner(named)
            if home and home[0] != path[0]:
                wrong.append(f"{told(path)} has methods of {'::'.join(named)}, which {told(home)} defines")
    assert not wrong, "\n".join(wrong)


def test_the_documentation_lists_the_same_floors(tier):
    text = (ROOT / "docs/architecture.md").read_text()
    table = re.search(rf"^\*\*The {tier.name}\*\*, from low to high:\n\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, f"docs/architecture.md has no table of the floors of the {tier.name}"
    rows = [row.split("|")[1] for row in table[1].splitlines()[2:]]
    assert tuple(tuple(re.findall(r"`([\w/]+)`", row)) for row in rows) == tier.floors
