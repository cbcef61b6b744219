-- One row per session, corrected as it goes on: outcome, join time, totals.
CREATE TABLE play_session (
  sid        STRING NOT NULL COMMENT 'player session',
  session_ms BIGINT NOT NULL COMMENT 'first beat, ms since the epoch',
  cid        STRING NOT NULL COMMENT 'content id: the room',
  region     STRING NOT NULL, isp STRING NOT NULL,
  cdn        STRING NOT NULL COMMENT 'first CDN known of the session, else none',
  outcome    STRING NOT NULL COMMENT 'play, vsf (start failure), ebvs (exit before start), pending, or resumed (no start seen: no attempt)',
  s_ms       BIGINT COMMENT 'attempt: first starting state, ms',
  p_ms       BIGINT COMMENT 'first playing state, ms',
  f_ms       BIGINT COMMENT 'first fatal error, ms',
  q_ms       BIGINT COMMENT 'quit, ms',
  exit_ms    BIGINT COMMENT 'exit before start: quit, or the last beat before the silence, ms',
  last_ms    BIGINT COMMENT 'last beat accounted for, ms',
  join_ms    BIGINT COMMENT 'join time: first play minus first start, or minus the preloading within the second before it, ms',
  play_ms    BIGINT NOT NULL COMMENT 'time playing, ms',
  stall_ms   BIGINT NOT NULL COMMENT 'time stalled, ms',
  stalls     BIGINT NOT NULL COMMENT 'stalls begun',
  br_ms      BIGINT NOT NULL COMMENT 'bitrate x time playing, kbit/s x ms',
  errors     BIGINT NOT NULL COMMENT 'errors reported',
  PRIMARY KEY (sid, session_ms) NOT ENFORCED
) WITH (
  'layer' = 'dwd', 'system' = 'clickhouse', 'owner' = 'live-quality', 'retention' = '30 d'
);
