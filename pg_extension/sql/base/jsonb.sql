create function matriarch_convert.json_or_null(document text) returns jsonb
language c immutable strict parallel safe
as 'MODULE_PATHNAME', 'json_or_null_wrapper';
comment on function matriarch_convert.json_or_null is
    'JSON text as jsonb; NULL where jsonb cannot hold it (U+0000, for one).';
