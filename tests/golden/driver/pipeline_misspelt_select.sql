INSERT INTO play_minutes
SELEC CAST(ts AS TIMESTAMP(3)), 1 FROM beacons;
