"""The failure lab: a cluster of several hosts on one machine, faults, and what they cost, recorded."""
