CREATE TABLE plays (
  sid   STRING,
  ts_ms BIGINT,
  WATERMARK FOR ts_ms AS ts_ms
) WITH ('layer' = 'ods');
