"""Errors on the command line: every failure becomes one line on stderr and an exit status by its kind.

In: whatever a command raises. Out: typer's Exit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from img2mv3d.cli.help import Group
from img2mv3d.cli.lines import say
from img2mv3d.errors import Img2mv3dError, ResourceError, UsageError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TOO_MUCH = "not enough memory; close other programs, try --quality draft, a smaller --texture-size or --device cpu"

# What typer itself ends with: usage errors that it words itself, exits, aborts. The base class's module differs from
# version to version, its name does not.
TYPERS_OWN = (typer.Exit, typer.Abort, *(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"))


class Guard(Group):
    """The group of all commands. --debug anywhere on the line shows the trace before the one line."""

    _debug = False

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Run the words `args`, those of the process if None."""
        self._debug = "--debug" in (sys.argv[1:] if args is None else args)
        return super().main(args, *rest, **more)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Img2mv3dError, interrupts, lack of memory or disk end in their exit codes."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            self._say("interrupted; finished stages are kept, the same command continues from there")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `img2mv3d ... | head` has read enough
            with contextlib.suppress(OSError, ValueError):  # else the interpreter complains when it flushes at its end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except TYPERS_OWN as error:
            if not hasattr(error, "format_message"):
                raise
            self._say(f"{_worded(error)}; see `{_command(error, ctx)} --help`")
            raise typer.Exit(UsageError.exit_code) from None
        except Exception as error:
            known = as_known(error)
            kind = type(error).__name__
            self._say(one_line(known or Img2mv3dError(f"a defect of img2mv3d ({kind}: {error}); --debug shows where")))
            raise typer.Exit((known or Img2mv3dError()).exit_code) from None

    def _say(self, line: str) -> None:
        if self._debug:
            traceback.print_exc()
        say(f"error: {line}")


def _worded(error: Any) -> str:
    """What typer says about words on the command line, in our style."""
    words = error.format_message().replace("Value error, ", "").rstrip(".")
    return words[:1].lower() + words[1:]


def _command(error: Any, ctx: Any) -> str:
    return (getattr(error, "ctx", None) or ctx).command_path


def as_known(error: BaseException) -> Img2mv3dError | None:
    """The error of ours that says the same; None when there is none."""
    if isinstance(error, Img2mv3dError):
        return error
    from img2mv3d.machine import is_starved

    if is_starved(error):
        return ResourceError(TOO_MUCH)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in NO_ROOM:
            return ResourceError(f"no space left on the disk{where}; free some{_pruning(error.filename)}")
        if error.errno == errno.ENOMEM:
            return ResourceError(TOO_MUCH)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return UsageError(
                f"not allowed to read or write{where}; give another folder with -o or correct its permissions"
            )
        if isinstance(error, FileNotFoundError) and not _has_place():
            return UsageError("the working directory is gone; change into one that is there")
        if error.errno == errno.ENAMETOOLONG:
            return UsageError(f"a path is too long for this system{where[:120]}; give a shorter one")
        if error.errno == errno.EMFILE:
            return ResourceError("too many open files; raise the limit (ulimit -n) or take fewer --jobs")
        if error.errno is not None:  # the system's word: no defect of ours
            return ResourceError(f"{error.strerror}{where}; try again, or give another folder with -o")
    return None


def _has_place() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _pruning(filename: Any) -> str:
    """What emptying the cache would help: nothing where it stands on another disk."""
    from img2mv3d.flow.store import default_folder

    try:
        same = os.stat(os.path.dirname(os.path.abspath(filename))).st_dev == os.stat(default_folder()).st_dev
    except (OSError, TypeError, ValueError):
        return ""
    return "; `img2mv3d cache prune --max-size 0` helps" if same else " there"


def one_line(error: BaseException) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
