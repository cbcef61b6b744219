-- bidder BIGINT, bid_count BIGINT, starts TIMESTAMP(3), ends TIMESTAMP(3)
SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end
