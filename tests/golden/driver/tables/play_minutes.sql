CREATE TABLE play_minutes (
  window_start TIMESTAMP(3),
  plays        BIGINT
) WITH ('layer' = 'dws', 'system' = 'clickhouse')
