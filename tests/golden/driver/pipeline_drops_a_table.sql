DROP TABLE beacons;
