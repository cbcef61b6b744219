-- Every decision of the CDN scheduler with what it was based on; written by the scheduler, also to the topic ads.decision_log.
-- `inputs` holds all that a decision depends on: `headrace.flows.cdn.decide.replay` makes the same decision from it again.
CREATE TABLE decision_log (
  ts_ms            BIGINT NOT NULL COMMENT 'when it was decided, ms since the epoch',
  region STRING NOT NULL, isp STRING NOT NULL,
  version          BIGINT NOT NULL COMMENT 'counts the changes of this cell''s weights',
  action           STRING NOT NULL COMMENT 'keep, hold, step, evacuate, shed or init',
  reason           STRING NOT NULL COMMENT 'one sentence',
  weights          STRING NOT NULL COMMENT 'JSON: share of sessions by CDN',
  weights_before   STRING NOT NULL COMMENT 'JSON: the weights it replaces',
  moved            DOUBLE NOT NULL COMMENT 'share of sessions that change their CDN',
  ttl_s            DOUBLE NOT NULL COMMENT 'poll interval told to players, s',
  alternatives     STRING NOT NULL COMMENT 'JSON: each CDN''s verdict, largest weight and why',
  inputs           STRING NOT NULL COMMENT 'JSON: facts, remembered state, time and rules',
  inputs_hash      STRING NOT NULL COMMENT 'of inputs; also in the Redis key steer:{region}:{isp}',
  last_input_ts_ms BIGINT NOT NULL COMMENT 'event second of the newest fact, ms',
  PRIMARY KEY (ts_ms, region, isp) NOT ENFORCED
) WITH (
  'layer' = 'ads', 'system' = 'clickhouse', 'owner' = 'live-quality', 'retention' = '30 d'
);
