"""Hawk: a dead or frozen host is found in about a second, fenced, and its jobs flow again.

Pure decisions: `views` (what one observer thinks), `verdicts` (what a quorum decides), `fence` (what an agent does to its own
TaskManagers), `members` (who takes part), `probation` (who gets no work), `gray` (what is ill but not dead).
Edges: `wire` and `keys` (datagrams), `probes`, `agent`, `observer`, `realize` (verdicts to Flink).
"""
