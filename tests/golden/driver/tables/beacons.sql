CREATE TABLE beacons (
  sid    STRING NOT NULL,
  ts_ms  BIGINT NOT NULL,
  sta    STRING,
  br     INT,
  ts AS TO_TIMESTAMP_LTZ(ts_ms, 3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('layer' = 'ods', 'system' = 'kafka')
