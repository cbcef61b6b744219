-- The ODS for ever: what a batch recount reads (cmcd_raw declared on this folder), one folder per day of receiving.
CREATE TABLE cmcd_archive (
  sid       STRING NOT NULL,
  sn        BIGINT,
  ts_ms     BIGINT NOT NULL,
  recv_ms   BIGINT NOT NULL,
  skew_ms   BIGINT,
  cid       STRING,
  e         STRING NOT NULL,
  sta       STRING,
  br        INT,
  bl        INT,
  mtp       INT,
  ltc       INT,
  rc        INT,
  ttfb      INT,
  ttlb      INT,
  age_ms    INT,
  url       STRING,
  ec        STRING,
  cen       STRING,
  cdn       STRING,
  region    STRING, isp STRING, ip_prefix STRING,
  ua_family STRING,
  v         INT,
  recv_day  STRING NOT NULL COMMENT 'day of receiving, UTC'
) PARTITIONED BY (recv_day) WITH (
  'layer' = 'ods', 'system' = 'files', 'owner' = 'live-quality', 'retention' = '400 d'
);
