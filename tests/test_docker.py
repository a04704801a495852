"""The files that build and run images, checked without Docker: what they name is there."""

import fnmatch
import itertools
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from harness import process

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
VARIABLES = {"POSTGRES_PASSWORD": "secret", "MATRIARCH_API_PASSWORD": "secret"}


def instructions() -> list[list[str]]:
    """The words of each instruction of the Dockerfile."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text())
    return [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]


def is_sent(path: str) -> bool:
    """Whether Docker is sent a path of the repository: the last pattern that matches it or a folder above it
    decides."""
    sent = True
    parents = [path, *(str(parent) for parent in Path(path).parents)]
    for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatch(each, pattern) or fnmatch.fnmatch(f"/{each}", pattern) for each in parents):
            sent = line.startswith("!")
    return sent


def scalars(section: str) -> dict[str, str]:
    """The keys and values of a section of compose.yaml that has no others below it, variables replaced."""
    lines = (DOCKER / "compose.yaml").read_text().split(f"\n  {section}", 1)[1].splitlines()[1:]
    found = {}
    for line in lines:
        if not (match := re.fullmatch(r"    (\w+): (.*)", line)):
            break
        value = re.sub(r"\$\{(\w+)(?::-(.*?)|:\?)\}", lambda m: VARIABLES.get(m[1]) or m[2], match[2])
        found[match[1]] = value.strip("'")
    return found


def test_what_is_copied_is_there_and_sent():
    copied = [words[1:-1] for words in instructions() if words[0] == "COPY" and "--from" not in words[1]]
    for source in itertools.chain.from_iterable(copied):
        assert (ROOT / source).exists(), source
        assert source == "." or is_sent(source), source


def test_scripts_that_are_run_are_there():
    scripts = {word for words in instructions() if words[0] == "RUN" for word in words if "scripts/" in word}
    assert scripts
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script
        assert is_sent(script), script


def test_the_compiler_is_new_enough():
    (image,) = [words[1] for words in instructions() if words[0] == "FROM" and words[1].startswith("rust:")]
    needed = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    has = re.match(r"rust:(\d+)\.(\d+)", image).groups()
    assert tuple(map(int, has)) >= tuple(map(int, needed.split(".")[:2])), image


def test_all_that_is_compiled_is_sent():
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for member in workspace:
        assert is_sent(f"{member}/Cargo.toml"), member
    tracked = subprocess.run(
        ["git", "ls-files", "*.rs"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    included = re.compile(r"(?:include_(?:str|bytes)|include|embed_migrations)!\(\s*\"([^\"]+)\"")
    for name in tracked.stdout.splitlines():
        # Tests are not compiled there.
        if not is_sent(name) or Path(name).stem == "tests":
            continue
        for path in included.findall((ROOT / name).read_text()):
            # A macro that reads a folder begins at the package, others at the file.
            folder = ROOT / name.split("/src/")[0] if not Path(path).suffix else (ROOT / name).parent
            target = (folder / path).resolve()
            assert target.exists(), (name, path)
            assert is_sent(str(target.relative_to(ROOT))), (name, path)


def test_what_is_mounted_is_there():
    mounted = re.findall(r"^ +- (\./[^:]+):", (DOCKER / "compose.yaml").read_text(), re.MULTILINE)
    assert mounted
    for path in mounted:
        assert (DOCKER / path).is_file(), path


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_the_configuration_is_good(command):
    environment = scalars("environment: &environment")
    assert environment["MATRIARCH_LISTENERS"]
    if command == "migrate":
        compose = (DOCKER / "compose.yaml").read_text()
        assert re.search(r'command: \["migrate"\]\n    environment:\n      <<: \*environment\n', compose)
        environment["MATRIARCH_DATABASE__MIGRATE_URL"] = "postgres://postgres:secret@postgres/matriarch"
    checked = subprocess.run(
        [process.binary(), "config", "check"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stderr
