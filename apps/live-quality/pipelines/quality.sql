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

CREATE TEMPORARY FUNCTION BEACON AS 'io.headrace.quality.Beacon';
CREATE TEMPORARY FUNCTION PLAY_SLOT AS 'io.headrace.quality.PlaySlot';
CREATE TEMPORARY FUNCTION PLAYBACK AS 'io.headrace.quality.Playback';
CREATE TEMPORARY FUNCTION PLAY_INTERVALS AS 'io.headrace.quality.PlayIntervals';
CREATE TEMPORARY FUNCTION PLAY_MINUTES AS 'io.headrace.quality.PlayMinutes';
CREATE TEMPORARY FUNCTION HEARD AS 'io.headrace.quality.Heard';

-- 1. Lateness is a property of the row (see tables/cmcd_raw.sql): rows later than 5 s go to beacon_late and nowhere else here, in streaming and
-- in batch alike. What Kafka stored more than 1 s out of the order of receiving is counted by ods_archive (beacon_disorder).
CREATE TEMPORARY VIEW beacon AS
SELECT sid, COALESCE(sn, 0) AS sn, ts_ms, recv_ms, cid, region, isp, cdn, e, sta, br, ltc, ts,
  recv_ms - (CASE WHEN e = 'rr' THEN ts_ms + COALESCE(ttlb, 0) ELSE ts_ms END) AS late_ms
FROM cmcd_raw;

CREATE TEMPORARY VIEW on_time AS
SELECT sid, ts, BEACON(ts_ms, sn, e, sta, cid, region, isp, cdn, br, ltc) AS beacon FROM beacon WHERE late_ms <= 5000;

-- 2. One row per session and heartbeat slot of 5 s. PLAY_SLOT gives the slot's beats: one per millisecond with a beacon that is no response
-- (a response carries the state of the moment of sending), duplicates gone, of several states in one millisecond the one with the greatest sn. And
-- `heard`, the sequence numbers, responses included. A row per slot and not per beat, because everything below costs per row.
CREATE TEMPORARY VIEW slot AS
SELECT sid, window_time AS ts, PLAY_SLOT(beacon) AS said
FROM TUMBLE(TABLE on_time, DESCRIPTOR(ts), INTERVAL '5' SECOND)
GROUP BY sid, window_start, window_end, window_time;

-- 3. Memory within the session. PLAYBACK adds to a slot what is known of the session before it. Walking a slot in order of time, each beat closes
-- the interval since the one before, with its effective state (stalled is r after the first play, and k that follows r with no p or a between) and with
-- the CDN and bitrate last known at its start. A session ends when three whole slots pass without a beat (silence of 15 to 20 s, the standard's
-- 3 x heartbeat); everything remembered is then reset, so a slot belongs to one session. Of a slot without beats `play` is null; to leave such slots out
-- before would give the planner two different inputs, and two copies of everything below.
CREATE TEMPORARY VIEW playback AS
SELECT sid, ts, PLAYBACK(said) OVER (PARTITION BY sid ORDER BY ts) AS play
FROM slot;

-- A slot as its session sees it: sums, and when the session reported a state or named its CDN for the first time, if it did in this slot.
CREATE TEMPORARY VIEW session_slot AS
SELECT sid, ts, play.session_ms AS session_ms, play.last_ms AS last_ms, play.played AS played, play.cid AS cid, play.region AS region, play.isp AS isp,
  play.found_cdn_ms AS found_cdn_ms, play.found_cdn AS found_cdn,
  play.s_ms AS s_ms, play.p_ms AS p_ms, play.f_ms AS f_ms, play.q_ms AS q_ms, play.d_ms AS d_ms,
  play.play_ms AS play_ms, play.stall_ms AS stall_ms, play.stalls AS stalls, play.br_ms AS br_ms, play.errors AS errors
FROM playback
WHERE play.session_ms IS NOT NULL;

-- 4. Sessions: what happened when, silence before the first frame (an empty window after the last beat), and totals once a minute.
CREATE TEMPORARY VIEW session_event AS
SELECT sid, session_ms, cid, region, isp, CONCAT(CAST(found_cdn_ms AS STRING), found_cdn) AS cdn_at, s_ms, p_ms, f_ms, q_ms, d_ms, CAST(NULL AS BIGINT) AS silent_ms, last_ms,
  CAST(0 AS BIGINT) AS play_ms, CAST(0 AS BIGINT) AS stall_ms, CAST(0 AS BIGINT) AS stalls, CAST(0 AS BIGINT) AS br_ms, CAST(0 AS BIGINT) AS errors
FROM session_slot
WHERE s_ms IS NOT NULL OR p_ms IS NOT NULL OR f_ms IS NOT NULL OR q_ms IS NOT NULL OR d_ms IS NOT NULL OR found_cdn_ms IS NOT NULL
UNION ALL
SELECT sid, session_ms, cid, region, isp, CAST(NULL AS STRING), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT),
  CAST(NULL AS BIGINT), last_ms, last_ms, 0, 0, 0, 0, 0
FROM (
  SELECT sid, MAX(session_ms) AS session_ms, MAX(cid) AS cid, MAX(region) AS region, MAX(isp) AS isp,
    MAX(last_ms) AS last_ms,
    (EXTRACT(EPOCH FROM window_time) + 1) / 5 AS end_slot
  FROM HOP(TABLE session_slot, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)
  WHERE NOT played
  GROUP BY sid, window_start, window_end, window_time
)
WHERE last_ms / 5000 = end_slot - 4
UNION ALL
SELECT sid, session_ms, MAX(cid), MAX(region), MAX(isp), CAST(NULL AS STRING),
  CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), MAX(last_ms),
  SUM(play_ms), SUM(stall_ms), SUM(stalls), SUM(br_ms), SUM(errors)
FROM TUMBLE(TABLE session_slot, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
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

-- 5. Contributions to a minute of a cell. An interval is shared between the minutes that it touches (two at most, it is shorter than 20 s); what
-- a beat tells (stall begun, error, latency) belongs to its own minute. Sessions count in the minute in which the thing happened.
CREATE TEMPORARY VIEW minute_part AS
SELECT sid, part.minute_ms, part.region, part.isp, part.cdn, part.cid, part.play_ms, part.stall_ms, part.stalls,
  CASE WHEN part.is_stalled THEN sid END AS stalled_sid, part.br_ms, part.br_weight_ms, part.errors, part.ltc_count, part.ltc_ms
FROM playback, LATERAL TABLE(PLAY_MINUTES(play.slot)) AS part;

-- UNNEST rather than a UNION ALL of the same view: the planner would build the operators below once for each branch.
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
SELECT heard.region AS region, heard.isp AS isp, heard.cid AS cid, heard.cdn AS cdn, (end_s - 60) * 1000 AS minute_ms,
  heard.received AS received, heard.expected AS expected
FROM (
  SELECT sid, HEARD(said) AS heard, EXTRACT(EPOCH FROM window_time) + 1 AS end_s
  FROM TUMBLE(TABLE slot, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
  GROUP BY sid, window_start, window_end, window_time
);

CREATE TEMPORARY VIEW contribution AS
SELECT minute_ms, region, isp, cdn, cid, sid, stalled_sid, play_ms, stall_ms, stalls, br_ms, br_weight_ms, errors, ltc_count, ltc_ms,
  CAST(0 AS BIGINT) AS received, CAST(0 AS BIGINT) AS expected, 0 AS attempts, 0 AS plays, 0 AS start_failures, 0 AS exits, 0 AS playback_failures, CAST(NULL AS BIGINT) AS join_ms
FROM minute_part
UNION ALL
SELECT minute_ms, region, isp, cdn, cid, CAST(NULL AS STRING), CAST(NULL AS STRING), 0, 0, 0, 0, 0, 0, 0, 0, received, expected, 0, 0, 0, 0, 0, CAST(NULL AS BIGINT) FROM beacon_minute
UNION ALL
SELECT minute_ms, region, isp, cdn, cid, CAST(NULL AS STRING), CAST(NULL AS STRING), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, attempts, plays, start_failures, exits, playback_failures, join_ms FROM session_minute;

EXECUTE STATEMENT SET
BEGIN

INSERT INTO beacon_late
SELECT sid, sn, ts_ms, recv_ms, late_ms, e, cid, region, isp, COALESCE(cdn, 'none') FROM beacon WHERE late_ms > 5000;

INSERT INTO play_interval
SELECT sid, closed.session_ms, closed.from_ms, closed.to_ms, closed.cid, closed.region, closed.isp, closed.cdn, closed.state, closed.state_eff,
  closed.stalls, closed.errors, closed.br, closed.ltc
FROM playback, LATERAL TABLE(PLAY_INTERVALS(play.slot)) AS closed;

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
  SUM(play_ms), SUM(stall_ms), SUM(stalls),
  COUNT(DISTINCT sid),
  COUNT(DISTINCT stalled_sid),
  SUM(br_ms), SUM(br_weight_ms),
  SUM(errors),
  SUM(ltc_count), SUM(ltc_ms),
  SUM(received), SUM(expected)
FROM contribution
GROUP BY minute_ms, region, isp, cdn, cid;

END;
