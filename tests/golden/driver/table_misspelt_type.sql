CREATE TABLE plays (
  sid   STRIN,
  ts_ms BIGINT
) WITH ('layer' = 'ods');
