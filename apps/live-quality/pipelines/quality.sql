-- name: quality
-- tier: P0
-- parallelism: 2
-- freshness: qoe_1m readable 3 s after the end of the minute plus the watermark delay of 6 s
-- config: table.local-time-zone = UTC
-- config: table.exec.state.ttl = 1 h
-- config: execution.buffer-timeout.interval = 100 ms
-- config: table.exec.mini-batch.enabled = true
-- config: table.exec.mini-batch.allow-latency = 400 ms
-- config: table.exec.mini-batch.size = 20000
-- config: table.optimizer.agg-phase-strategy = TWO_PHASE
-- config: pipeline.object-reuse = true
-- config: table.exec.sink.upsert-materialize = NONE

-- 1. Lateness is a property of the row (see tables/cmcd_raw.sql): rows later than 5 s go to beacon_late and nowhere else here, in streaming and
-- in batch alike. What Kafka stored more than 1 s out of the order of receiving is counted by ods_archive (beacon_disorder).
CREATE TEMPORARY VIEW beacon AS
SELECT sid, COALESCE(sn, 0) AS sn, ts_ms, recv_ms, cid, region, isp, cdn, e, sta, br, ltc, ts,
  recv_ms - (CASE WHEN e = 'rr' THEN ts_ms + COALESCE(ttlb, 0) ELSE ts_ms END) AS late_ms
FROM cmcd_raw;

CREATE TEMPORARY VIEW on_time AS SELECT * FROM beacon WHERE late_ms <= 5000;

-- 2. One row per session and millisecond: duplicates vanish, and of several states in one millisecond the greatest sn wins. Responses are
-- left out: the state they carry is that of the moment of sending.
CREATE TEMPORARY VIEW beat_window AS
SELECT sid, window_time AS ts, MAX(ts_ms) AS ms,
  COALESCE(MOD(MAX(CASE WHEN sta IS NOT NULL THEN sn * 16 + POSITION(sta IN 'sprkaefqd') END), 16), 0) AS code,
  MAX(CASE WHEN sta = 's' THEN 1 ELSE 0 END) AS has_s,
  MAX(CASE WHEN sta = 'p' THEN 1 ELSE 0 END) AS has_p,
  MAX(CASE WHEN sta = 'r' THEN 1 ELSE 0 END) AS has_r,
  MAX(CASE WHEN sta = 'f' THEN 1 ELSE 0 END) AS has_f,
  MAX(CASE WHEN sta = 'q' THEN 1 ELSE 0 END) AS has_q,
  MAX(CASE WHEN sta = 'd' THEN 1 ELSE 0 END) AS has_d,
  MAX(CASE WHEN e = 'e' THEN 1 ELSE 0 END) AS has_e,
  MAX(COALESCE(cid, '')) AS cid, MAX(COALESCE(region, '')) AS region, MAX(COALESCE(isp, '')) AS isp,
  MAX(cdn) AS cdn, MAX(br) AS br, MAX(ltc) AS ltc
FROM TUMBLE(TABLE on_time, DESCRIPTOR(ts), INTERVAL '0.001' SECOND)
WHERE e <> 'rr'
GROUP BY sid, window_start, window_end, window_time;

-- What the next beat must know of this one in one number, because each LAG costs its own list in state: ms (41 bits, to the year 2039), state
-- (4 bits, place in 'sprkaefqd', 0 unknown), whether p was seen (1 bit), bitrate + 1 (17 bits, 0 unknown).
CREATE TEMPORARY VIEW beat AS
SELECT sid, ts, ms * 4194304 + code * 262144 + has_p * 131072 + COALESCE(LEAST(br, 131070) + 1, 0) AS packed,
  has_s + has_p * 2 + has_r * 4 + has_f * 8 + has_q * 16 + has_d * 32 + has_e * 64 AS seen,
  cid, region, isp, cdn, ltc
FROM beat_window;

-- 3. What came before it.
CREATE TEMPORARY VIEW step AS
SELECT *, LAG(packed) OVER w AS p_packed, LAG(cdn) OVER w AS p_cdn
FROM beat
WINDOW w AS (PARTITION BY sid ORDER BY ts);

-- 4. Memory within the session. A session ends when three whole heartbeat slots of 5 s pass without a beat (silence of 15 to 20 s, the
-- standard's 3 x heartbeat), which step 6 can see as an empty window; at the next beat everything remembered is reset. The last value by time is
-- the maximum of time and value: MAX is generated code, LAST_VALUE is not, and it cannot depend on the order of arrival.
CREATE TEMPORARY VIEW step_unpacked AS
SELECT sid, ts, packed / 4194304 AS ms, seen, cid, region, isp, cdn, ltc, p_cdn,
  p_packed / 4194304 AS p_ms,
  CAST(MOD(p_packed / 262144, 16) AS INT) AS p_code,
  MOD(p_packed / 131072, 2) AS p_has_p,
  CAST(MOD(p_packed, 131072) AS INT) - 1 AS p_br,
  (p_packed IS NULL OR packed / 20971520000 - p_packed / 20971520000 >= 4) AS is_first
FROM step;

CREATE TEMPORARY VIEW fact AS
SELECT sid, ts, ms, seen, cid, region, isp, cdn, ltc, is_first, p_ms, p_code,
  MAX(CASE WHEN is_first THEN ms END) OVER w AS session_ms,
  MAX(CASE WHEN is_first THEN ms * 16 WHEN p_code IN (2, 3, 5) THEN ms * 16 + p_code END) OVER w AS last_pra,
  MAX(CASE WHEN is_first THEN ms * 2 WHEN p_has_p = 1 THEN ms * 2 + 1 END) OVER w AS last_played,
  MAX(CASE WHEN is_first THEN ms * 131072 WHEN p_br >= 0 THEN ms * 131072 + p_br END) OVER w AS last_br,
  MAX(CASE WHEN is_first THEN CAST(ms AS STRING) WHEN p_cdn IS NOT NULL THEN CONCAT(CAST(ms AS STRING), p_cdn) END) OVER w AS last_cdn
FROM step_unpacked
WINDOW w AS (PARTITION BY sid ORDER BY ts);

-- 5. The interval that a beat closes, with its effective state: stalled is r after the first play, and k that follows r with no p or a between.
CREATE TEMPORARY VIEW session_beat AS
SELECT sid, ts, ms, session_ms, cid, region, isp, is_first, ltc,
  MOD(last_played, 2) AS played,
  MOD(seen, 2) AS has_s, MOD(seen / 2, 2) AS has_p, MOD(seen / 8, 2) AS has_f, MOD(seen / 16, 2) AS has_q, MOD(seen / 32, 2) AS has_d,
  seen / 64 AS has_e,
  CASE WHEN is_first THEN ms ELSE p_ms END AS from_ms,
  CASE WHEN CHAR_LENGTH(last_cdn) > 13 THEN SUBSTRING(last_cdn FROM 14) ELSE COALESCE(cdn, 'none') END AS cdn,
  (CHAR_LENGTH(last_cdn) = 13 AND cdn IS NOT NULL) AS finds_cdn,
  CASE WHEN is_first OR p_code = 0 THEN '-' ELSE SUBSTRING('sprkaefqd' FROM p_code FOR 1) END AS state,
  CASE
    WHEN is_first OR p_code = 0 THEN '-'
    WHEN p_code = 2 THEN 'p'
    WHEN MOD(last_played, 2) = 1 AND (p_code = 3 OR (p_code = 4 AND MOD(last_pra, 16) = 3)) THEN 'r'
    WHEN p_code = 3 THEN 's'
    ELSE SUBSTRING('sprkaefqd' FROM p_code FOR 1)
  END AS state_eff,
  CASE WHEN NOT is_first AND MOD(last_played, 2) = 1 AND p_code = 2 AND MOD(seen / 4, 2) = 1 THEN 1 ELSE 0 END AS stalls,
  CAST(MOD(last_br, 131072) AS INT) AS br
FROM fact;

-- 6. Sessions: what happened when, silence before the first frame (an empty window after the last beat), and totals once a minute.
CREATE TEMPORARY VIEW session_event AS
SELECT sid, session_ms, cid, region, isp,
  CASE WHEN finds_cdn THEN CONCAT(CAST(ms AS STRING), cdn) END AS cdn_at,
  CASE WHEN has_s = 1 THEN ms END AS s_ms,
  CASE WHEN has_p = 1 THEN ms END AS p_ms,
  CASE WHEN has_f = 1 THEN ms END AS f_ms,
  CASE WHEN has_q = 1 THEN ms END AS q_ms,
  CASE WHEN has_d = 1 THEN ms END AS d_ms,
  CAST(NULL AS BIGINT) AS silent_ms,
  ms AS last_ms,
  CAST(0 AS BIGINT) AS play_ms, CAST(0 AS BIGINT) AS stall_ms, CAST(0 AS BIGINT) AS stalls, CAST(0 AS BIGINT) AS br_ms, CAST(0 AS BIGINT) AS errors
FROM session_beat
WHERE has_s = 1 OR (has_p = 1 AND state <> 'p') OR has_f = 1 OR has_q = 1 OR has_d = 1 OR finds_cdn
UNION ALL
SELECT sid, session_ms, cid, region, isp, CAST(NULL AS STRING), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
  CAST(NULL AS BIGINT), last_ms, last_ms, 0, 0, 0, 0, 0
FROM (
  SELECT sid, MAX(session_ms) AS session_ms, MAX(cid) AS cid, MAX(region) AS region, MAX(isp) AS isp,
    MAX(ms) AS last_ms,
    (EXTRACT(EPOCH FROM window_time) + 1) / 5 AS end_slot
  FROM HOP(TABLE session_beat, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)
  WHERE played = 0
  GROUP BY sid, window_start, window_end, window_time
)
WHERE last_ms / 5000 = end_slot - 4
UNION ALL
SELECT sid, session_ms, MAX(cid), MAX(region), MAX(isp), CAST(NULL AS STRING),
  CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), MAX(ms),
  SUM(CASE WHEN state_eff = 'p' THEN ms - from_ms ELSE 0 END),
  SUM(CASE WHEN state_eff = 'r' THEN ms - from_ms ELSE 0 END),
  SUM(CAST(stalls AS BIGINT)),
  SUM(CASE WHEN state_eff = 'p' THEN br * (ms - from_ms) ELSE 0 END),
  SUM(CAST(has_e AS BIGINT))
FROM TUMBLE(TABLE session_beat, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
GROUP BY sid, session_ms, window_start, window_end;

CREATE TEMPORARY VIEW session_now AS
SELECT sid, session_ms, MAX(cid) AS cid, MAX(region) AS region, MAX(isp) AS isp,
  COALESCE(SUBSTRING(MIN(cdn_at) FROM 14), 'none') AS cdn,
  MIN(s_ms) AS s_ms, MIN(p_ms) AS p_ms, MIN(f_ms) AS f_ms, MIN(q_ms) AS q_ms, MIN(d_ms) AS d_ms, MAX(silent_ms) AS silent_ms, MAX(last_ms) AS last_ms,
  SUM(play_ms) AS play_ms, SUM(stall_ms) AS stall_ms, SUM(stalls) AS stalls, SUM(br_ms) AS br_ms, SUM(errors) AS errors
FROM session_event
GROUP BY sid, session_ms;

-- The time to join starts with the preloading (d) that a page which plays at once announces just before starting (s); a page that preloaded long
-- before the viewer pressed play starts with s.
CREATE TEMPORARY VIEW session_state AS
SELECT *,
  CASE
    WHEN s_ms IS NULL THEN 'resumed'
    WHEN p_ms IS NOT NULL THEN 'play'
    WHEN f_ms IS NOT NULL THEN 'vsf'
    WHEN q_ms IS NOT NULL OR silent_ms IS NOT NULL THEN 'ebvs'
    ELSE 'pending'
  END AS outcome,
  CASE WHEN p_ms >= s_ms THEN p_ms - CASE WHEN d_ms BETWEEN s_ms - 1000 AND s_ms THEN d_ms ELSE s_ms END END AS join_ms,
  CASE WHEN s_ms IS NOT NULL AND p_ms IS NULL AND f_ms IS NULL THEN COALESCE(q_ms, silent_ms) END AS exit_ms
FROM session_now;

-- 7. Contributions to a minute of a cell. An interval is shared between the minutes that it touches (two at most, it is shorter than 20 s); what
-- a beat tells (stall begun, error, latency) belongs to its own minute. Sessions count in the minute in which the thing happened. UNNEST rather
-- than a UNION ALL of the same view: the planner would build the operators below once for each branch.
CREATE TEMPORARY VIEW minute_part AS
SELECT minute_ms, region, isp, cdn, cid, sid, state_eff, br,
  LEAST(ms, minute_ms + 60000) - GREATEST(from_ms, minute_ms) AS dur,
  CASE WHEN ms - minute_ms < 60000 THEN stalls ELSE 0 END AS stalls,
  CASE WHEN ms - minute_ms < 60000 THEN has_e ELSE 0 END AS errors,
  CASE WHEN ms - minute_ms < 60000 THEN ltc END AS ltc
FROM session_beat
CROSS JOIN UNNEST(
  CASE WHEN from_ms / 60000 = ms / 60000 THEN ARRAY[ms - MOD(ms, 60000)] ELSE ARRAY[from_ms - MOD(from_ms, 60000), ms - MOD(ms, 60000)] END
) AS minutes (minute_ms);

CREATE TEMPORARY VIEW session_minute AS
SELECT at_ms - MOD(at_ms, 60000) AS minute_ms, region, isp, cdn, cid,
  CASE WHEN what = 's' THEN 1 ELSE 0 END AS attempts,
  CASE WHEN what = 'p' THEN 1 ELSE 0 END AS plays,
  CASE WHEN what = 'f' AND outcome = 'vsf' THEN 1 ELSE 0 END AS start_failures,
  CASE WHEN what = 'x' THEN 1 ELSE 0 END AS exits,
  CASE WHEN what = 'f' AND outcome = 'play' THEN 1 ELSE 0 END AS playback_failures,
  CASE WHEN what = 'p' THEN join_ms END AS join_ms
FROM session_state
CROSS JOIN UNNEST(ARRAY[ROW('s', s_ms), ROW('p', p_ms), ROW('f', f_ms), ROW('x', exit_ms)]) AS happened (what, at_ms)
WHERE at_ms IS NOT NULL AND s_ms IS NOT NULL AND (what <> 'p' OR outcome = 'play')
  -- Always true. It makes this reader of session_state need every column, so that the planner shares one aggregate with play_session.
  AND last_ms + play_ms + stall_ms + stalls + br_ms + errors > 0;

-- Completeness of a session's minute: distinct sequence numbers received, of those between the smallest and the greatest.
CREATE TEMPORARY VIEW beacon_minute AS
SELECT region, isp, cid, COALESCE(SUBSTRING(cdn_at FROM 11), 'none') AS cdn, (end_s - 60) * 1000 AS minute_ms, received, expected
FROM (
  SELECT sid, MAX(COALESCE(region, '')) AS region, MAX(COALESCE(isp, '')) AS isp, MAX(COALESCE(cid, '')) AS cid,
    MAX(CASE WHEN cdn IS NOT NULL THEN CONCAT(LPAD(CAST(sn AS STRING), 10, '0'), cdn) END) AS cdn_at,
    COUNT(DISTINCT sn) AS received, MAX(sn) - MIN(sn) + 1 AS expected, EXTRACT(EPOCH FROM window_time) + 1 AS end_s
  FROM TUMBLE(TABLE on_time, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  GROUP BY sid, window_start, window_end, window_time
);

CREATE TEMPORARY VIEW contribution AS
SELECT minute_ms, region, isp, cdn, cid, dur, state_eff, br, stalls, errors, ltc, CASE WHEN stalls = 1 OR state_eff = 'r' THEN sid END AS stalled_sid, sid,
  CAST(0 AS BIGINT) AS received, CAST(0 AS BIGINT) AS expected, 0 AS attempts, 0 AS plays, 0 AS start_failures, 0 AS exits, 0 AS playback_failures, CAST(NULL AS BIGINT) AS join_ms
FROM minute_part
UNION ALL
SELECT minute_ms, region, isp, cdn, cid, 0, '-', 0, 0, 0, CAST(NULL AS INT), CAST(NULL AS STRING), CAST(NULL AS STRING), received, expected, 0, 0, 0, 0, 0, CAST(NULL AS BIGINT) FROM beacon_minute
UNION ALL
SELECT minute_ms, region, isp, cdn, cid, 0, '-', 0, 0, 0, CAST(NULL AS INT), CAST(NULL AS STRING), CAST(NULL AS STRING), 0, 0, attempts, plays, start_failures, exits, playback_failures, join_ms FROM session_minute;

EXECUTE STATEMENT SET
BEGIN

INSERT INTO beacon_late
SELECT sid, sn, ts_ms, recv_ms, late_ms, e, cid, region, isp, COALESCE(cdn, 'none') FROM beacon WHERE late_ms > 5000;

INSERT INTO play_interval
SELECT sid, session_ms, from_ms, ms, cid, region, isp, cdn, state, state_eff, stalls, has_e, br, ltc
FROM session_beat WHERE NOT is_first;

INSERT INTO play_session
SELECT sid, session_ms, cid, region, isp, cdn, outcome, s_ms, p_ms, f_ms, q_ms, exit_ms, last_ms, join_ms, play_ms, stall_ms, stalls, br_ms, errors
FROM session_state;

INSERT INTO qoe_1m
SELECT minute_ms, region, isp, cdn, cid,
  SUM(attempts), SUM(plays), SUM(exits), SUM(start_failures), SUM(playback_failures),
  COUNT(join_ms), SUM(COALESCE(join_ms, 0)),
  SUM(CASE WHEN join_ms <= 250 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 500 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 750 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 1000 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 1500 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 2000 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 3000 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 5000 THEN 1 ELSE 0 END),
  SUM(CASE WHEN join_ms <= 10000 THEN 1 ELSE 0 END),
  SUM(CASE WHEN state_eff = 'p' THEN dur ELSE 0 END),
  SUM(CASE WHEN state_eff = 'r' THEN dur ELSE 0 END),
  SUM(stalls),
  COUNT(DISTINCT sid),
  COUNT(DISTINCT stalled_sid),
  SUM(CASE WHEN state_eff = 'p' THEN br * dur ELSE 0 END),
  SUM(CASE WHEN state_eff = 'p' AND br > 0 THEN dur ELSE 0 END),
  SUM(errors),
  COUNT(ltc), SUM(CAST(COALESCE(ltc, 0) AS BIGINT)),
  SUM(received), SUM(expected)
FROM contribution
GROUP BY minute_ms, region, isp, cdn, cid;

END;
