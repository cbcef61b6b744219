CREATE TEMPORARY VIEW starts AS
  SELECT sid, stat FROM beacons;
INSERT INTO play_minutes SELECT CAST(ts AS TIMESTAMP(3)), 1 FROM starts;
INSERT INTO play_minutes SELECT CAST(ts AS TIMESTAMP(3)), cuont(*) FROM beacons;
