SET 'execution.target' = 'local';
INSERT INTO play_minutes SELECT CAST(ts AS TIMESTAMP(3)), 1 FROM beacons;
