-- Player beacons as accepted by the ingest gateway: one row per CMCD v2 event report.
CREATE TABLE cmcd_raw (
  sid       STRING NOT NULL COMMENT 'player session',
  sn        BIGINT COMMENT 'sequence number of the report within session and target, from 0',
  ts_ms     BIGINT NOT NULL COMMENT 'event time, ms since the epoch, clock skew removed',
  recv_ms   BIGINT NOT NULL COMMENT 'when the gateway received it, ms',
  skew_ms   BIGINT COMMENT 'how far the player''s clock ran ahead, subtracted from its ts',
  cid       STRING COMMENT 'content id: the room',
  e         STRING NOT NULL COMMENT 'event: ps t rr bc e ce ...',
  sta       STRING COMMENT 'player state: s p r k a e f q d',
  br        INT COMMENT 'encoded bitrate, kbit/s',
  bl        INT COMMENT 'buffer length, ms',
  mtp       INT COMMENT 'measured throughput, kbit/s',
  ltc       INT COMMENT 'live latency, ms',
  rc        INT COMMENT 'HTTP status of a response (rr)',
  ttfb      INT COMMENT 'time to first byte, ms (rr)',
  ttlb      INT COMMENT 'time to last byte, ms (rr)',
  age_ms    INT COMMENT 'age of the fetch in flight, ms (ce inflight)',
  url       STRING COMMENT 'requested URL (rr)',
  ec        STRING COMMENT 'error code (e)',
  cen       STRING COMMENT 'name of a custom event (ce)',
  cdn       STRING COMMENT 'CDN in use: reported, else from the URL''s host, else the session''s last known',
  region    STRING, isp STRING, ip_prefix STRING,
  ua_family STRING,
  v         INT COMMENT 'CMCD version',
  ts AS TO_TIMESTAMP_LTZ(ts_ms, 3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'layer' = 'ods', 'system' = 'kafka', 'owner' = 'live-quality', 'retention' = '1 d',
  'key' = 'sid', 'partitions' = '4'
);
