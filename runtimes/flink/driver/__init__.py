"""The Flink driver: a warm JVM behind a Unix socket; see `headrace.flink.protocol` for what it answers."""
