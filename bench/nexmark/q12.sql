-- bidder BIGINT, bid_count BIGINT, starts TIMESTAMP(3), ends TIMESTAMP(3)
SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
FROM TABLE(TUMBLE(TABLE bid_seen, DESCRIPTOR(seen_at), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end
