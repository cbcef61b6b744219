-- name: minutes
INSERT INTO play_minutes
SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE beacon, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
