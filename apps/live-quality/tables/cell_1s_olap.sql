-- cell_1s, kept for the board and for later questions.
CREATE TABLE cell_1s_olap (
  sec_ms BIGINT NOT NULL COMMENT 'the second, ms since the epoch',
  region STRING NOT NULL, isp STRING NOT NULL,
  cdn    STRING NOT NULL COMMENT 'none while a session has none',
  sessions       BIGINT NOT NULL COMMENT 'sessions heard of in the second',
  playing        BIGINT NOT NULL COMMENT 'of these, in state p',
  stalled        BIGINT NOT NULL COMMENT 'in state r',
  seeking        BIGINT NOT NULL COMMENT 'in state k: a user''s seek, or the jump to the live edge after a stall',
  stall_starts   BIGINT NOT NULL COMMENT 'changed to r',
  inflight       BIGINT NOT NULL COMMENT 'reported a fetch in flight for too long',
  errors         BIGINT NOT NULL COMMENT 'reported an error or a response of 400 and more',
  slow_responses BIGINT NOT NULL COMMENT 'had a response that took more than 1 s, a segment''s duration',
  responding     BIGINT NOT NULL COMMENT 'had a response',
  starts         BIGINT NOT NULL COMMENT 'changed to s',
  plays          BIGINT NOT NULL COMMENT 'changed to p',
  inflight_age_ms_max INT COMMENT 'age of the oldest fetch in flight, ms',
  last_ts_ms     BIGINT NOT NULL COMMENT 'greatest event time, ms', last_recv_ms BIGINT NOT NULL COMMENT 'greatest receive time, ms',
  PRIMARY KEY (sec_ms, region, isp, cdn) NOT ENFORCED
) WITH (
  'layer' = 'dws', 'system' = 'clickhouse', 'owner' = 'live-quality', 'retention' = '7 d'
);
