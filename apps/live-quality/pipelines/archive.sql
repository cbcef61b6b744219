-- name: archive
-- tier: P1
-- parallelism: 1
-- freshness: a file each checkpoint
-- config: table.local-time-zone = UTC
-- config: pipeline.object-reuse = true
-- config: table.exec.sink.upsert-materialize = NONE

EXECUTE STATEMENT SET
BEGIN

INSERT INTO cmcd_archive
SELECT sid, sn, ts_ms, recv_ms, skew_ms, cid, e, sta, br, bl, mtp, ltc, rc, ttfb, ttlb, age_ms, url, ec, cen, cdn, region, isp, ip_prefix,
  ua_family, v, DATE_FORMAT(TO_TIMESTAMP_LTZ(recv_ms, 3), 'yyyy-MM-dd')
FROM cmcd_raw;

-- Streaming only (CURRENT_WATERMARK does not exist in batch): rows behind the watermark that are not late by their own clock.
INSERT INTO beacon_disorder
SELECT sid, COALESCE(sn, 0), ts_ms, recv_ms, TIMESTAMPDIFF(SECOND, ts, CURRENT_WATERMARK(ts)) * CAST(1000 AS BIGINT)
FROM cmcd_raw
WHERE ts <= CURRENT_WATERMARK(ts)
  AND recv_ms - (CASE WHEN e = 'rr' THEN ts_ms + COALESCE(ttlb, 0) ELSE ts_ms END) <= 5000;

END;
