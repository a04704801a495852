-- The extension `matriarch`. A superuser runs it: `create extension matriarch`. It holds functions and types
-- only; tables come from `matriarch migrate`, so that pg_dump sees their rows. `matriarch migrate` replaces
-- the extension when its script has changed. So nothing outside of it may depend on it in a way that
-- PostgreSQL tracks: no table, no trigger, no view.
--
-- Roles belong to the cluster and stay when the extension goes.
do $$
begin
    if not exists (select from pg_roles where rolname = 'matriarch_owner') then
        create role matriarch_owner nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'matriarch_api') then
        create role matriarch_api login;
    end if;
    if not exists (select from pg_roles where rolname = 'matriarch_readonly') then
        create role matriarch_readonly nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'matriarch_admin') then
        create role matriarch_admin nologin in role matriarch_readonly;
    end if;
exception
    -- Another database of the cluster created them at this moment.
    when duplicate_object or unique_violation then null;
end
$$;

comment on role matriarch_owner is
    'Owns Matriarch''s tables and functions; functions that serve requests run as it.';
comment on role matriarch_api is 'What API nodes log in as.';
comment on role matriarch_readonly is 'Analysts: may read the schema matrix, and no secret.';
comment on role matriarch_admin is 'Operators: what analysts may, and functions that repair and administer.';

alter schema matriarch owner to matriarch_owner;

-- For `matriarch migrate`, which makes the schema `matrix`.
do $$
begin
    execute format('grant create on database %I to matriarch_owner', current_database());
end
$$;
-- Operators call a few functions of it.
grant usage on schema matriarch to matriarch_api, matriarch_admin;
