"""Entry point of `pivot` and `python -m pivot`.

Layer: edge. Exit codes: 0 done, 1 found wrong or absent, 2 usage, 3 unreachable, 70 our bug, 130 interrupted.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import Final, cast

from cyclopts import CycloptsError

from pivot.cli import app
from pivot.errors import (
    DeadlineError,
    MisuseError,
    NotFoundError,
    PivotError,
    RefusedError,
    UnreachableError,
)

OK: Final = 0
WRONG: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
BUG: Final = 70
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code. Errors are one line on stderr, with a traceback after `--debug`."""
    debug = "--debug" in arguments
    try:
        result = app([a for a in arguments if a != "--debug"], exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has seen enough
        return OK
    except (Exception, BaseExceptionGroup) as error:  # the latter brings Ctrl-C out of a nursery
        if debug:
            traceback.print_exc()
        return _explain(_leaf(error))
    return result if isinstance(result, int) else OK


def _leaf(error: BaseException) -> BaseException:
    """The error that matters in an exception group: an order to stop, else the first one of ours, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(inner) for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions]
    stops = [leaf for leaf in leaves if not isinstance(leaf, Exception)]
    ours = [leaf for leaf in leaves if isinstance(leaf, PivotError)]
    return (*stops, *ours, *leaves)[0]


def _explain(error: BaseException) -> int:
    """Say in one line what went wrong; returns the exit code."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case SystemExit():
            return error.code if isinstance(error.code, int) else OK
        case CycloptsError() | MisuseError():
            code = USAGE
        case NotFoundError():
            code = WRONG
        case RefusedError():
            code = UNREACHABLE if error.status in (429, 502, 503, 504) else WRONG
        case UnreachableError() | DeadlineError():
            code = UNREACHABLE
        case PivotError() | OSError():
            code = WRONG
        case _:
            print(f"pivot: our bug: {error!r} (run again with --debug for the traceback)", file=sys.stderr)  # noqa: T201
            return BUG
    text = " ".join(str(error).split())
    print(f"pivot: {text}", file=sys.stderr)  # noqa: T201 - the command line talks on stderr
    return code


if __name__ == "__main__":
    main()
