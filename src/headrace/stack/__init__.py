"""Local processes of one stack: real Kafka, Flink, Valkey, OLAP host and Headrace's own services, supervised.

`specs` says as data which processes there are; `supervisor` starts, watches, restarts and stops them and answers on a
Unix socket; `client` is how commands and tests talk to it; `orphans` cleans up after a supervisor that was killed.
"""
