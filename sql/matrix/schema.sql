-- The schema `matrix`: the documented, stable SQL interface for analysts. docs/sql.md describes it with
-- examples. Views and functions run with the owner's rights and show rooms only: no token, password hash, key
-- or account data.
--
-- `matriarch migrate` runs the files of sql/matrix/ after the migrations, all in one transaction, whenever
-- one of them or the version of the tables has changed. So each statement can be repeated: `create or
-- replace` keeps grants, and what analysts built on a view. It can add a column at the end of a view. What it
-- cannot do, a migration does before, by dropping the view or function.

do $$
begin
    -- Where it is there, no right to create schemas is needed: a copy of a database has none.
    if to_regnamespace('matrix') is null then
        create schema matrix;
    end if;
end
$$;
comment on schema matrix is 'Matrix rooms for analysts. Stable: columns are added, not changed.';
grant usage on schema matrix to matriarch_readonly, matriarch_api, matriarch_admin;

-- The body is a text: so nothing depends on the extension, which is replaced. The planner puts it in the
-- place of the call.
create or replace function matrix.json_or_null(document text) returns jsonb
language sql immutable strict parallel safe
as $$ select matriarch_convert.json_or_null(document) $$;
comment on function matrix.json_or_null is
    'JSON text as jsonb; NULL where jsonb cannot hold it (U+0000, for one).';

-- Not strict: the planner would not put it in the place of the call, where the index events_sent is for it.
create or replace function matrix.timestamp_or_null(milliseconds bigint) returns timestamptz
language sql immutable parallel safe
as $$
    -- From 4713 BC to 294276 AD, what the type holds.
    select case
        when milliseconds between -210866803200000 and 9224318015999999
            then to_timestamp(milliseconds / 1000.0)
    end
$$;
comment on function matrix.timestamp_or_null is
    'Milliseconds since 1970 as a time; NULL where the calendar of PostgreSQL does not reach.';

create or replace function matrix.status_name(status smallint) returns text
language sql immutable parallel safe
as $$
    select case status
        when 0 then 'accepted'
        when 1 then 'soft-failed'
        when 2 then 'rejected'
        when 3 then 'outlier'
    end
$$;
comment on function matrix.status_name is 'The name of a value of events.status.';
