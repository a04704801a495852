"""The imports of a Rust crate, read from its sources: which file uses which."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

COMMENT_OR_STRING = re.compile(
    r"//[^\n]*|/\*.*?\*/|r(#*)\".*?\"\1|b?\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])'", re.DOTALL
)
USE = re.compile(r"^\s*(?:#\[[^\]]*\]\s*)?(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", re.MULTILINE)
INLINE = re.compile(r"(?<![\w:$])(?:crate|super|self)(?:::\w+)+")
CHILD = re.compile(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+);", re.MULTILINE)
INHERENT_IMPL = re.compile(
    r"^\s*impl(?:<[^{]*?>)?\s+((?:\w+::)*\w+)(?:<[^{]*>)?\s*(?:where[^{]*)?\{", re.MULTILINE
)

Path_ = tuple[str, ...]


def flatten(tree: str, prefix: Path_ = ()) -> list[tuple[Path_, str]]:
    """The paths of a `use` tree, each with the name that it binds."""
    head, brace, rest = tree.strip().partition("{")
    if not brace:
        name, _, alias = head.partition(" as ")
        path = prefix + tuple(part.strip() for part in name.split("::"))
        path = path[:-1] if path[-1] == "self" and len(path) > 1 else path
        return [(path, alias.strip() or path[-1])]
    prefix += tuple(part.strip() for part in head.split("::") if part.strip())
    depth, start, inner, found = 0, 0, rest[: rest.rindex("}")] + ",", []
    for place, char in enumerate(inner):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            found += flatten(inner[start:place], prefix) if inner[start:place].strip() else []
            start = place + 1
    return found


@dataclass
class Module:
    """A source file as a module."""

    path: Path_
    file: Path
    text: str
    children: set[str] = field(default_factory=set)
    # What the file brings in: paths from the crate's root, and the names that it binds.
    imported: list[tuple[Path_, str]] = field(default_factory=list)
    reexported: dict[str, Path_] = field(default_factory=dict)
    inherent_impls: list[Path_] = field(default_factory=list)

    def absolute(self, path: Path_) -> Path_ | None:
        """The path from the crate's root; `None` where it leads into another crate."""
        base = self.path
        if path[0] in self.children:
            return base + path
        if path[0] not in ("crate", "self", "super"):
            return None
        if path[0] == "crate":
            base = ()
        while path and path[0] in ("crate", "self", "super"):
            base = base[:-1] if path[0] == "super" else base
            path = path[1:]
        return base + path


class Crate:
    """A crate's modules, by their paths; a file `tests.rs` or `tests/` counts as none."""

    def __init__(self, source: Path):
        self.modules: dict[Path_, Module] = {}
        for file in sorted(source.rglob("*.rs")):
            path = file.relative_to(source).with_suffix("").parts
            if "tests" in path or path in (("lib",), ("main",)):
                continue
            text = COMMENT_OR_STRING.sub('""', file.read_text())
            self.modules[path] = self._read(Module(path, file, text))

    @staticmethod
    def _read(module: Module) -> Module:
        module.children = set(CHILD.findall(module.text))
        body = USE.sub("", module.text)
        for public, tree in USE.findall(module.text):
            for path, name in flatten(tree):
                if (path := module.absolute(path)) is None:
                    continue
                # A name that is only handed on is no need of this file.
                if public:
                    module.reexported[name] = path
                if not public or re.search(rf"\b{name}\b", body):
                    module.imported.append((path, name))
        inline = {tuple(path.split("::")) for path in INLINE.findall(body)}
        for child in module.children:
            inline |= {(child, name) for name in re.findall(rf"(?<![\w:.]){child}::(\w+)", body)}
        module.imported += [(module.absolute(path), path[-1]) for path in sorted(inline)]
        bound = {name: path for path, name in module.imported} | module.reexported
        for name in INHERENT_IMPL.findall(body):
            first, *rest = name.split("::")
            module.inherent_impls.append(bound.get(first, (*module.path, first)) + tuple(rest))
        return module

    def owner(self, path: Path_) -> Path_ | None:
        """The module that defines what a path names, through re-exports."""
        for length in range(len(path), 0, -1):
            if module := self.modules.get(path[:length]):
                handed_on = length < len(path) and module.reexported.get(path[length])
                return self.owner(handed_on + path[length + 1 :]) if handed_on else module.path
        return None

    @cached_property
    def uses(self) -> dict[Path_, set[Path_]]:
        """Which modules each one uses."""
        return {
            path: {owner for used, _ in module.imported if (owner := self.owner(used))} - {path}
            for path, module in self.modules.items()
        }

    @cached_property
    def circles(self) -> list[set[Path_]]:
        """Modules that use one another, directly or not: the strongly connected components of more than
        one."""
        reached: dict[Path_, set[Path_]] = {}
        for start in self.modules:
            seen, todo = set(), [start]
            while todo:
                new = self.uses[todo.pop()] - seen
                seen |= new
                todo += new
            reached[start] = seen
        circles = {
            frozenset(other for other in seen if start in reached[other])
            for start, seen in reached.items()
            if start in seen
        }
        return sorted(map(set, circles), key=sorted)
