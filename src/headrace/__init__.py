"""Headrace: a real-time data platform around Apache Flink.

The package is a stack of layers (pyproject.toml, `importlinter`); imports point down only. `core` knows nothing of the
outside world, `cli` and `console` are the two faces that people see.
"""

__version__ = "0.1.0"
