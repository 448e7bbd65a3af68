"""Entry point of `pivot` and `python -m pivot`.

Layer: edge. Exit codes: 0 done, 1 found wrong or absent, 2 usage, 3 unreachable, 70 our bug, 130 interrupted.
Next to nothing is imported here but within `run`, where a Ctrl-C that comes while importing is caught like any other.
"""

import gc
import sys

TYPE_CHECKING = False  # as in `typing`, which is not worth importing so early
if TYPE_CHECKING:
    from collections.abc import Sequence

OK = 0
WRONG = 1
USAGE = 2
UNREACHABLE = 3
BUG = 70
INTERRUPTED = 130


def main(arguments: "Sequence[str] | None" = None) -> None:
    """Run one command and exit."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code. Errors are one line on stderr, with a traceback after `--debug`."""
    debug = "--debug" in arguments
    try:
        return _command([a for a in arguments if a != "--debug"])
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stop:
        return _code(stop)
    except (Exception, BaseExceptionGroup) as error:  # the latter brings Ctrl-C out of a nursery
        if debug:
            import traceback

            traceback.print_exc()
        return _explain(_leaf(error))


def _command(arguments: list[str]) -> int:
    gc.disable()  # so many definitions are made on the way to a command, and no garbage: a tenth of `pivot --help`
    from pivot import cli, experiments, verbs

    command, bound, _ = cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
    if command.__module__ in (cli.__name__, experiments.__name__, verbs.__name__):  # else it is help, which is as short
        gc.enable()
    result = command(*bound.args, **bound.kwargs)
    return result if isinstance(result, int) else OK


def _leaf(error: BaseException) -> BaseException:
    """The error that matters in an exception group: an order to stop, else the first one of ours, else the first."""
    from typing import cast

    from pivot.errors import PivotError

    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(inner) for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions]
    stops = [leaf for leaf in leaves if not isinstance(leaf, Exception)]
    ours = [leaf for leaf in leaves if isinstance(leaf, PivotError)]
    return (*stops, *ours, *leaves)[0]


def _explain(error: BaseException) -> int:
    """Say in one line what went wrong; returns the exit code."""
    from cyclopts import CycloptsError

    from pivot.errors import MisuseError, NotFoundError, PivotError, RefusedError, TransportError

    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case SystemExit():
            return _code(error)
        case BrokenPipeError():
            _close_stdout()  # whoever read our output has seen enough
            return OK
        case CycloptsError() | MisuseError():
            code = USAGE
        case NotFoundError():
            code = WRONG
        case RefusedError():
            code = UNREACHABLE if error.status in (429, 502, 503, 504) else WRONG
        case TransportError():
            code = UNREACHABLE
        case PivotError() | OSError():
            code = WRONG
        case _:
            print(f"pivot: our bug: {error!r} (run again with --debug for the traceback)", file=sys.stderr)
            return BUG
    text = " ".join(str(error).split())
    print(f"pivot: {text}", file=sys.stderr)
    return code


def _code(stop: SystemExit) -> int:
    return stop.code if isinstance(stop.code, int) else OK


def _close_stdout() -> None:
    """Let the interpreter, when it ends, find nobody to complain to about what could not be printed."""
    import os

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
