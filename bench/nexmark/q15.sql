-- bid_day STRING, bids BIGINT, bids1 BIGINT, bids2 BIGINT, bids3 BIGINT, bidders BIGINT, bidders1 BIGINT, bidders2 BIGINT, bidders3 BIGINT, auctions BIGINT, auctions1 BIGINT, auctions2 BIGINT, auctions3 BIGINT
SELECT DATE_FORMAT(date_time, 'yyyy-MM-dd') AS bid_day,
  COUNT(*),
  COUNT(*) FILTER (WHERE price < 10000),
  COUNT(*) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(*) FILTER (WHERE price >= 1000000),
  COUNT(DISTINCT bidder),
  COUNT(DISTINCT bidder) FILTER (WHERE price < 10000),
  COUNT(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000),
  COUNT(DISTINCT auction),
  COUNT(DISTINCT auction) FILTER (WHERE price < 10000),
  COUNT(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000),
  COUNT(DISTINCT auction) FILTER (WHERE price >= 1000000)
FROM bid
GROUP BY DATE_FORMAT(date_time, 'yyyy-MM-dd')
