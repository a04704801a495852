"""What the tables of a database look like, and what is kept of them in the checkout: the dump in
`docs/schema.sql`, and the migrations that have landed. `scripts/schema-dump` writes both."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

from . import process
from .cluster import Cluster, Database

MIGRATIONS = process.ROOT / "sql"
DUMP = process.ROOT / "docs/schema.sql"
LANDED = process.ROOT / "tests/fixtures/migrations.txt"
HEADER = """\
-- The schema `matriarch` as the migrations in `sql/` leave it: tables, keys, indexes, triggers, comments and
-- grants. Functions are in `pg_extension/sql/`, the schema `matrix` is in `sql/matrix/`, a drawing in
-- `docs/schema.md`.
-- Written by `scripts/schema-dump`, compared by `tests/test_schema.py`.
"""
# What differs between versions of PostgreSQL and between runs: lines, and ways to say the same.
NOISE = re.compile(r"^(--|SET |SELECT pg_catalog\.set_config|\\(un)?restrict )")
VARIANTS = [
    # PostgreSQL 17 and later quote a word that became a keyword.
    (re.compile(r'"json"'), "json"),
    (re.compile(r"^ALTER SEQUENCE (\S+ OWNER TO )", re.MULTILINE), r"ALTER TABLE \1"),
]


def pg_dump(database: Database, *options: str) -> str:
    """What pg_dump prints, without what differs between versions and runs."""
    command = [database.cluster.bin / "pg_dump", *options, database.url()]
    finished = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if finished.returncode != 0:
        raise RuntimeError(f"pg_dump failed:\n{finished.stderr}")
    text = "\n".join(line for line in finished.stdout.splitlines() if not NOISE.match(line))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def definition(database: Database) -> str:
    """The schema `matriarch`, the same whatever the version of PostgreSQL."""
    text = pg_dump(database, "--schema-only", "--schema", "matriarch")
    for pattern, same in VARIANTS:
        text = pattern.sub(same, text)
    return text


def dump(database: Database) -> str:
    """The text of `docs/schema.sql`."""
    return HEADER + "\n" + definition(database)


def migrations() -> dict[int, Path]:
    """The migrations of the checkout, in their order."""
    found = {int(re.match(r"V(\d+)__", path.name).group(1)): path for path in MIGRATIONS.glob("V*__*.sql")}
    return dict(sorted(found.items()))


def landed() -> dict[str, str]:
    """The migrations that have landed: SHA-256 by name of the file."""
    if not LANDED.exists():
        return {}
    lines = [line.split() for line in LANDED.read_text().splitlines() if not line.startswith("#")]
    return {name: checksum for checksum, name in lines}


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def note_landed():
    """Adds the new migrations to those that have landed. The others stay as they are noted."""
    known = landed()
    for path in migrations().values():
        known.setdefault(path.name, checksum(path))
    lines = ["# Migrations that have landed, with their SHA-256. They are never changed; new ones are added."]
    LANDED.write_text("\n".join(lines + [f"{known[name]}  {name}" for name in known]) + "\n")


def main():
    os.umask(0o022)
    cluster = Cluster()
    try:
        cluster.start()
        cluster.make_template()
        DUMP.write_text(dump(cluster.create_database()))
    finally:
        cluster.remove()
    note_landed()


if __name__ == "__main__":
    main()
