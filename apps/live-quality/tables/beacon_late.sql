-- Beacons that came later than the watermark allows: counted here, in cell_1s, and in no minute.
CREATE TABLE beacon_late (
  sid STRING NOT NULL, sn BIGINT NOT NULL, ts_ms BIGINT NOT NULL, recv_ms BIGINT NOT NULL,
  late_ms BIGINT NOT NULL COMMENT 'receive time minus event time (of a response: its last byte), ms',
  e STRING NOT NULL,
  cid STRING, region STRING, isp STRING, cdn STRING NOT NULL,
  PRIMARY KEY (sid, sn, ts_ms) NOT ENFORCED
) WITH (
  'layer' = 'dwd', 'system' = 'clickhouse', 'owner' = 'live-quality', 'retention' = '7 d'
);
