"""Printing: where tables and lines for people go.

Layer: edge.
"""

from rich.console import Console


class Out(Console):
    """A rich console that leaves it to the command line what to do when nobody reads on."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError at hand, as `print` does; rich would exit with 1."""
        raise  # noqa: PLE0704 - rich calls this where it caught the error
