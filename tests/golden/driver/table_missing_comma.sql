-- A newcomer's table.
CREATE TABLE plays (
  sid   STRING NOT NULL
  ts_ms BIGINT
) WITH ('layer' = 'ods');
