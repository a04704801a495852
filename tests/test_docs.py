"""Documents name files, pages, tables, columns and SQL functions that exist."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md", "docs/*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
]
# Where a path that a document names may begin.
BASES = [ROOT, ROOT / "docs", ROOT / "pg_extension/src", ROOT / "server/src"]
SUFFIXES = {".rs", ".sql", ".py", ".toml"}
SCHEMA = (ROOT / "docs/schema.sql").read_text()
CONFIGURATION = tomllib.loads((ROOT / "docs/matriarch.toml").read_text())

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code_spans(text: str) -> list[str]:
    """The code spans of a document; those of code blocks are not among them."""
    prose = re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def is_path(span: str) -> bool:
    """Whether a code span names a file or folder of the repository.

    Endpoints, media types and what a build makes are none."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?", span):
        return False
    if "/" not in span or span.startswith("target/"):
        return False
    first = span.split("/")[0]
    return any((base / first).is_dir() for base in BASES) or Path(span).suffix in SUFFIXES


def exists(span: str) -> bool:
    """Whether there is such a file, such a folder, or such a file with the extension left out."""
    return any((base / span).exists() or (base / f"{span.rstrip('/')}.rs").exists() for base in BASES)


@documents
def test_paths_exist(document: Path) -> None:
    named = [span for span in code_spans(document.read_text()) if is_path(span)]
    assert [span for span in named if not exists(span)] == []


@documents
def test_links_resolve(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


@documents
def test_functions_exist(document: Path) -> None:
    files = [*ROOT.glob("pg_extension/sql/**/*.sql"), *ROOT.glob("sql/matrix/*.sql")]
    declared = "\n".join(path.read_text() for path in files)
    known = set(re.findall(r"\w+", SCHEMA + declared))
    spans = " ".join(code_spans(document.read_text()))
    named = re.findall(r"\b(?:matriarch|matrix)\.([a-z_]+)\b(?!\.)", spans)
    endings = {"control", "debug", "toml", "so"}
    assert sorted({name for name in named if name not in known | endings}) == []


@documents
def test_columns_exist(document: Path) -> None:
    tables = {
        table: set(re.findall(r"^ +(\w+) ", columns, re.MULTILINE))
        for table, columns in re.findall(
            r"^CREATE (?:UNLOGGED )?TABLE matriarch\.(\w+) \((.*?)^\)", SCHEMA, re.MULTILINE | re.DOTALL
        )
    }
    assert "forward_extremities" in tables["rooms"]
    named = [span.split(".") for span in code_spans(document.read_text()) if re.fullmatch(r"\w+\.\w+", span)]
    wrong = [
        f"{table}.{column}"
        for table, column in named
        if column not in tables.get(table, {column}) and column not in CONFIGURATION.get(table, {})
    ]
    assert wrong == []


@documents
def test_targets_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), re.MULTILINE)
    assert sorted(set(named) - set(targets)) == []
