do $$
declare
    invalid regclass;
begin
    for invalid in
        select indexrelid::regclass from pg_index
        where not indisvalid and indrelid = 'matriarch.events'::regclass
    loop
        execute format('drop index %s', invalid);
    end loop;
end
$$
