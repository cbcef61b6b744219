"""How every command speaks: human output, `--json`, errors and exit codes, in one place.

A command function returns a value; `Face.show` prints it as one JSON line under `--json`, else through the command's own
renderer. Errors go to stderr as one sentence, the place and a hint; the exit code is 1 for a failure of the world, 2 for
a call that must be fixed, 70 for a bug of ours. SIGTERM and SIGHUP end a command as Ctrl-C does: what it began is undone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import msgspec
from rich.console import Console

from headrace.core.errors import HeadraceError, Internal, Invalid, NotFound

T = TypeVar("T")
EXIT_FAILED, EXIT_INVALID, EXIT_BUG = 1, 2, 70
EXIT_PIPE = 141  # as of a process that SIGPIPE ended


class Terminated(KeyboardInterrupt):
    """A signal other than Ctrl-C's asked the command to end; whoever cleans up after Ctrl-C does so for it, too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Face:
    """Output of one command run."""

    def __init__(self, *, as_json: bool, out: Console | None = None, err: Console | None = None) -> None:
        self.as_json = as_json
        self.out = out or Console(soft_wrap=True)
        self.err = err or Console(stderr=True, soft_wrap=True)

    def show(self, value: T, render: Callable[[T, Console], None]) -> None:
        """Print a command's result: JSON on the last line of stdout, or what `render` draws."""
        if self.as_json:
            sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
            sys.stdout.flush()
        else:
            render(value, self.out)

    def say(self, text: str) -> None:
        """A line of progress or advice for a person: stderr, so that stdout stays data."""
        self.err.print(text, highlight=False)

    def fail(self, error: HeadraceError) -> NoReturn:
        """Print the error and leave with its exit code."""
        if self.as_json:
            sys.stdout.write(msgspec.json.encode({"error": error.body()}).decode() + "\n")
        first, _, hint = str(error).partition("\nhint: ")
        self.err.print(f"[bold red]error[/]: {_escape(first)}", highlight=False)
        if hint:
            self.err.print(f"[cyan]hint[/]: {_escape(hint)}", highlight=False)
        raise SystemExit(_exit_code(error))


def run(action: Callable[[Face], Any], *, as_json: bool = False) -> None:
    """Run one command's body with a face; turns every error into a sentence and an exit code."""
    face = Face(as_json=as_json)
    try:
        with _ended_in_order():
            action(face)
    except HeadraceError as error:
        face.fail(error)
    except BrokenPipeError:
        # `| head` has seen enough; what Python would flush at exit has nowhere to go either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_PIPE) from None
    except Terminated as ended:
        face.say(f"ended by {signal.Signals(ended.number).name}")
        raise SystemExit(128 + ended.number) from None
    except KeyboardInterrupt:
        face.say("interrupted")
        raise SystemExit(130) from None
    except Exception as error:
        face.err.print(traceback.format_exc(), highlight=False, markup=False)
        face.fail(
            Internal(
                f"unexpected {type(error).__name__}: {error}",
                hint="this is a bug in Headrace; please report it with the lines above",
            )
        )


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception; only a main thread may set handlers."""

    def stop(number: int, _: object) -> None:
        raise Terminated(number)

    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGHUP) if main else ()
    # One that is ignored stays so: `nohup` means it.
    before = {number: signal.signal(number, stop) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(error: HeadraceError) -> int:
    if isinstance(error, (Invalid, NotFound)):
        return EXIT_INVALID
    return EXIT_BUG if isinstance(error, Internal) else EXIT_FAILED


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
