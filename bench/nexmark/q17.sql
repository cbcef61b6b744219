-- auction BIGINT, bid_day STRING, bids BIGINT, bids1 BIGINT, bids2 BIGINT, bids3 BIGINT, lowest BIGINT, highest BIGINT, average BIGINT, total BIGINT
SELECT auction,
  DATE_FORMAT(date_time, 'yyyy-MM-dd') AS bid_day,
  COUNT(*),
  COUNT(*) FILTER (WHERE price < 10000),
  COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(*) FILTER (WHERE price >= 1000000),
  MIN(price),
  MAX(price),
  AVG(price),
  SUM(price)
FROM bid
GROUP BY auction, DATE_FORMAT(date_time, 'yyyy-MM-dd')
