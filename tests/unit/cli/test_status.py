"""What `headrace status` prints into a pipe."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.text import Text

from headrace.cli.stack_commands import PLAIN_WIDTH, print_whole


def test_nothing_is_cut_off_in_a_pipe() -> None:
    """A console of 80 columns that is no terminal prints wide lines whole: addresses are read by scripts."""
    out = Console(file=StringIO(), width=80, force_terminal=False)
    print_whole(out, Text("x" * (PLAIN_WIDTH - 1), no_wrap=True, overflow="ellipsis"))
    assert isinstance(out.file, StringIO)
    assert out.file.getvalue() == "x" * (PLAIN_WIDTH - 1) + "\n"
