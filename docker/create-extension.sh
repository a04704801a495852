#!/bin/sh
# Runs once, when the data folder is empty. Creates the extension, and lets API nodes log in.

set -eu
psql -v ON_ERROR_STOP=1 -v password="$MATRIARCH_API_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
create extension matriarch;
alter role matriarch_api password :'password';
SQL
