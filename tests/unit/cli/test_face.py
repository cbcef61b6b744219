"""How a command ends: with what it began undone, and with the exit code that shells expect."""

from __future__ import annotations

import os
import signal

import pytest

from headrace.cli.face import Face, run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_asked_to_end_undoes_what_it_began(number: signal.Signals) -> None:
    """As after Ctrl-C: both the cleaning of `finally` and that of `except KeyboardInterrupt` are done."""
    done: list[str] = []

    def action(_: Face) -> None:
        try:
            signal.raise_signal(number)
            done.append("went on")
        except KeyboardInterrupt:
            done.append("interrupted")
            raise
        finally:
            done.append("cleaned")

    before = signal.signal(number, signal.SIG_DFL)  # tests may run where one is ignored, as under nohup
    try:
        with pytest.raises(SystemExit) as ended:
            run(action)
        assert ended.value.code == 128 + number
        assert done == ["interrupted", "cleaned"]
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_so() -> None:
    """`nohup headrace …` goes on when the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run(lambda _: os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
