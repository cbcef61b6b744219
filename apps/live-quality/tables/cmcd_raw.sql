-- Player beacons as accepted by the ingest gateway: one row per CMCD v2 event report.
--
-- Event time `ts` is when the event happened: for a response (rr) that is when its last byte arrived, because its ts_ms is the start of the
-- request and would make every slow response late.
-- The watermark follows the gateway's clock, not the players': 5 s for late beacons, and 1 s of slack for what the gateway received
-- earlier but Kafka stored later. So whether a beacon is late (recv_ms - event time > 5 s) is a property of the row, and a batch recount
-- of the archive drops exactly the rows that the stream dropped.
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
  ts AS TO_TIMESTAMP_LTZ(CASE WHEN e = 'rr' THEN ts_ms + COALESCE(ttlb, 0) ELSE ts_ms END, 3),
  WATERMARK FOR ts AS TO_TIMESTAMP_LTZ(recv_ms - 6000, 3)
) WITH (
  'layer' = 'ods', 'system' = 'kafka', 'owner' = 'live-quality', 'retention' = '1 d',
  'key' = 'sid', 'partitions' = '4'
);
