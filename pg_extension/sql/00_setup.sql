-- The extension `matriarch`. A superuser installs it: `create extension matriarch`. It holds functions and
-- types only. `matriarch migrate` creates the tables, so that pg_dump dumps their rows, and replaces the
-- extension when its script has changed. So no table, trigger or view outside of the extension may depend on
-- it in a way that PostgreSQL tracks.
--
-- Roles belong to the cluster. They stay when the extension is dropped.
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
    if not exists (select from pg_roles where rolname = 'matriarch_metadata') then
        create role matriarch_metadata nologin;
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
    'Owns Matriarch''s tables and functions. Functions that serve requests run as this role.';
comment on role matriarch_api is 'API nodes log in as this role.';
comment on role matriarch_readonly is 'Analysts: may read the schema matrix, and no secret.';
comment on role matriarch_metadata is
    'Analysts who may not read what users write: the columns of the schema matrix without text of users.';
comment on role matriarch_admin is
    'Operators: may do what analysts may, and call functions that repair and administer.';

alter schema matriarch owner to matriarch_owner;

-- `matriarch migrate` creates the schema `matrix`.
do $$
begin
    execute format('grant create on database %I to matriarch_owner', current_database());
end
$$;
-- What only converts its argument is for everybody: views that analysts build on those of the schema matrix
-- call it with the rights of whoever reads them.
create schema matriarch_convert authorization matriarch_owner;
comment on schema matriarch_convert is 'Functions that only convert their argument, for everybody.';
grant usage on schema matriarch_convert to public;
-- Operators call a few of its functions.
grant usage on schema matriarch to matriarch_api, matriarch_admin;
