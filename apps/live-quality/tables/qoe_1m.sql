-- Quality of experience per minute, region, ISP, CDN and room. Sums and counts only, so that any cells can be added up.
CREATE TABLE qoe_1m (
  window_start_ms BIGINT NOT NULL COMMENT 'start of the minute, ms since the epoch',
  region STRING NOT NULL, isp STRING NOT NULL,
  cdn    STRING NOT NULL COMMENT 'none while a session has none',
  cid    STRING NOT NULL COMMENT 'content id: the room',
  attempts            BIGINT NOT NULL COMMENT 'sessions that began to start in this minute',
  plays               BIGINT NOT NULL COMMENT 'attempts that showed their first frame in this minute',
  exits_before_start  BIGINT NOT NULL COMMENT 'attempts that quit or fell silent without a frame, in the minute of their last beat',
  start_failures      BIGINT NOT NULL COMMENT 'attempts ended by a fatal error without a frame',
  playback_failures   BIGINT NOT NULL COMMENT 'plays ended by a fatal error',
  joins               BIGINT NOT NULL COMMENT 'plays with a join time',
  join_ms             BIGINT NOT NULL COMMENT 'sum of join times, ms',
  join_le_250         BIGINT NOT NULL COMMENT 'joins of at most 250 ms', join_le_500 BIGINT NOT NULL, join_le_750 BIGINT NOT NULL,
  join_le_1000        BIGINT NOT NULL, join_le_1500 BIGINT NOT NULL, join_le_2000 BIGINT NOT NULL, join_le_3000 BIGINT NOT NULL,
  join_le_5000        BIGINT NOT NULL, join_le_10000 BIGINT NOT NULL,
  play_ms             BIGINT NOT NULL COMMENT 'time playing, ms',
  stall_ms            BIGINT NOT NULL COMMENT 'time stalled, ms',
  stalls              BIGINT NOT NULL COMMENT 'stalls begun',
  sessions            BIGINT NOT NULL COMMENT 'sessions with a beat or an interval in the minute',
  impacted_sessions   BIGINT NOT NULL COMMENT 'of these, stalled at least once',
  br_ms               BIGINT NOT NULL COMMENT 'bitrate x time playing, kbit/s x ms',
  br_weight_ms        BIGINT NOT NULL COMMENT 'time playing with a known bitrate, ms',
  errors              BIGINT NOT NULL COMMENT 'errors reported',
  ltc_count           BIGINT NOT NULL COMMENT 'reports of live latency', ltc_ms BIGINT NOT NULL COMMENT 'their sum, ms',
  beacons_received    BIGINT NOT NULL COMMENT 'distinct beacons', beacons_expected BIGINT NOT NULL COMMENT 'greatest minus smallest sn plus 1, per session',
  PRIMARY KEY (window_start_ms, region, isp, cdn, cid) NOT ENFORCED
) WITH (
  'layer' = 'dws', 'system' = 'clickhouse', 'owner' = 'live-quality', 'retention' = '90 d'
);
