CREATE TABLE nexmark (
  event_type INT,
  person ROW<id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING, date_time TIMESTAMP(3), extra STRING>,
  auction ROW<id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING>,
  date_time AS CASE event_type WHEN 0 THEN person.date_time WHEN 1 THEN auction.date_time ELSE bid.date_time END,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'events' = '{events}', 'event-rate-per-s' = '{rate}', 'start-path' = '{start_path}');

CREATE VIEW person AS SELECT person.id, person.name, person.email_address, person.credit_card, person.city, person.state, date_time, person.extra
FROM nexmark WHERE event_type = 0;

CREATE VIEW auction AS SELECT auction.id, auction.item_name, auction.description, auction.initial_bid, auction.reserve, date_time, auction.expires,
  auction.seller, auction.category, auction.extra
FROM nexmark WHERE event_type = 1;

CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, date_time, bid.extra
FROM nexmark WHERE event_type = 2;

CREATE VIEW bid_seen AS SELECT *, PROCTIME() AS seen_at FROM bid
