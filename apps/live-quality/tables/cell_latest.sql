-- The newest second of each cell, for services: hash `cell:<region>:<isp>:<cdn>`. A late change of an older second is dropped by its version.
CREATE TABLE cell_latest (
  sec_ms BIGINT NOT NULL COMMENT 'the second, ms since the epoch',
  region STRING NOT NULL, isp STRING NOT NULL, cdn STRING NOT NULL,
  sessions BIGINT NOT NULL, playing BIGINT NOT NULL, stalled BIGINT NOT NULL, seeking BIGINT NOT NULL, stall_starts BIGINT NOT NULL,
  inflight BIGINT NOT NULL, errors BIGINT NOT NULL, slow_responses BIGINT NOT NULL, responding BIGINT NOT NULL,
  starts BIGINT NOT NULL, plays BIGINT NOT NULL, inflight_age_ms_max INT, last_ts_ms BIGINT NOT NULL, last_recv_ms BIGINT NOT NULL,
  PRIMARY KEY (sec_ms, region, isp, cdn) NOT ENFORCED
) WITH (
  'layer' = 'ads', 'system' = 'redis', 'owner' = 'live-quality', 'retention' = '10 min',
  'key-template' = 'cell:{region}:{isp}:{cdn}', 'version-column' = 'sec_ms'
);
