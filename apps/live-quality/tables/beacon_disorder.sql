-- Beacons that Kafka stored more than 1 s out of the order of receiving, behind the watermark: the quality job may have missed them. Empty while
-- gateways keep their promise (a partition's rows in order of receiving, up to 1 s).
CREATE TABLE beacon_disorder (
  sid STRING NOT NULL, sn BIGINT NOT NULL, ts_ms BIGINT NOT NULL, recv_ms BIGINT NOT NULL,
  behind_ms BIGINT NOT NULL COMMENT 'watermark minus event time, ms',
  PRIMARY KEY (sid, sn, ts_ms) NOT ENFORCED
) WITH (
  'layer' = 'dwd', 'system' = 'clickhouse', 'owner' = 'live-quality', 'retention' = '7 d'
);
