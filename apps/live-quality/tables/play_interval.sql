-- Player-state intervals: each beat of a session closes the interval since the one before. Kafka, exactly once.
CREATE TABLE play_interval (
  sid        STRING NOT NULL COMMENT 'player session',
  session_ms BIGINT NOT NULL COMMENT 'first beat of the session; a session id that falls silent and comes back starts a new one, ms',
  from_ms    BIGINT NOT NULL COMMENT 'start of the interval, ms since the epoch',
  to_ms      BIGINT NOT NULL COMMENT 'end of the interval, ms since the epoch',
  cid        STRING NOT NULL COMMENT 'content id: the room',
  region     STRING NOT NULL, isp STRING NOT NULL,
  cdn        STRING NOT NULL COMMENT 'CDN last known at the start, else at the end, else none',
  state      STRING NOT NULL COMMENT 'player state as reported at the start; - when it was not',
  state_eff  STRING NOT NULL COMMENT 'effective state: p playing, r stalled (also a seek to the live edge that ends a stall), else as reported',
  stalls     INT NOT NULL COMMENT '1 when a stall begins at to_ms (p to r)',
  errors     INT NOT NULL COMMENT '1 when an error was reported at to_ms',
  br         INT COMMENT 'bitrate last known at the start, kbit/s; 0 when unknown',
  ltc        INT COMMENT 'live latency reported at to_ms, ms'
) WITH (
  'layer' = 'dwd', 'system' = 'kafka', 'owner' = 'live-quality', 'retention' = '1 d',
  'key' = 'sid', 'partitions' = '4', 'delivery' = 'exactly-once'
);
