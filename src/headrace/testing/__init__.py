"""Public fakes for tests of Headrace and of what is built on it: a clock moved by hand, and more as seams appear."""

from headrace.testing.fakes import FakeClock

__all__ = ["FakeClock"]
