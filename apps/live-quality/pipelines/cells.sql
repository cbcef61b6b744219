-- name: cells
-- tier: P0
-- parallelism: 2
-- freshness: 1 s from event to row
-- config: table.local-time-zone = UTC
-- config: table.exec.state.ttl = 10 min
-- config: table.exec.mini-batch.enabled = true
-- config: table.exec.mini-batch.allow-latency = 200 ms
-- config: table.exec.mini-batch.size = 10000
-- config: pipeline.object-reuse = true

-- Everything counts distinct sessions or takes a maximum, so duplicates change nothing and late beacons correct their second. No
-- watermark is awaited.
CREATE TEMPORARY VIEW cell AS
SELECT
  (CASE WHEN e = 'rr' THEN ts_ms + COALESCE(ttlb, 0) ELSE ts_ms END) - MOD((CASE WHEN e = 'rr' THEN ts_ms + COALESCE(ttlb, 0) ELSE ts_ms END), 1000) AS sec_ms,
  COALESCE(region, '') AS region, COALESCE(isp, '') AS isp, COALESCE(cdn, 'none') AS cdn,
  sid, e, sta, rc, ttlb, ts_ms, recv_ms,
  CASE WHEN e = 'ce' AND cen = 'inflight' THEN COALESCE(age_ms, 0) WHEN e = 'ce' AND cen = 'slow' THEN COALESCE(age_ms, 1200) END AS age_ms
FROM cmcd_raw;

CREATE TEMPORARY VIEW cell_now AS
SELECT sec_ms, region, isp, cdn,
  COUNT(DISTINCT sid) AS sessions,
  COUNT(DISTINCT sid) FILTER (WHERE sta = 'p') AS playing,
  COUNT(DISTINCT sid) FILTER (WHERE sta = 'r') AS stalled,
  COUNT(DISTINCT sid) FILTER (WHERE sta = 'k') AS seeking,
  COUNT(DISTINCT sid) FILTER (WHERE e = 'ps' AND sta = 'r') AS stall_starts,
  COUNT(DISTINCT sid) FILTER (WHERE age_ms IS NOT NULL) AS inflight,
  COUNT(DISTINCT sid) FILTER (WHERE e = 'e' OR rc >= 400) AS errors,
  COUNT(DISTINCT sid) FILTER (WHERE e = 'rr' AND ttlb > 1000) AS slow_responses,
  COUNT(DISTINCT sid) FILTER (WHERE e = 'rr') AS responding,
  COUNT(DISTINCT sid) FILTER (WHERE e = 'ps' AND sta = 's') AS starts,
  COUNT(DISTINCT sid) FILTER (WHERE e = 'ps' AND sta = 'p') AS plays,
  MAX(age_ms) AS inflight_age_ms_max,
  MAX(ts_ms) AS last_ts_ms, MAX(recv_ms) AS last_recv_ms
FROM cell
GROUP BY sec_ms, region, isp, cdn;

EXECUTE STATEMENT SET
BEGIN

INSERT INTO cell_1s SELECT * FROM cell_now;

INSERT INTO cell_1s_olap SELECT * FROM cell_now;

INSERT INTO cell_latest SELECT * FROM cell_now;

END;
