"""How data enters: the beacon gateway (its own process), and the reader of recorded beacons."""
