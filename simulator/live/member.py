"""Member: the process of one member of a live cluster: `pivot serve`, with a wall clock that others can set wrong.

Layer: simulator/live (composition root of that process). Run by its path, so that it need not load the simulator:
`python -P member.py CONFIG CLOCK`. CONFIG is a file as for `pivot serve --config`; CLOCK holds, in 8 bytes, how far the
clock is ahead (ns, little-endian, signed), and may change at any time. It stops on SIGTERM, and when its stdin ends:
whoever starts it keeps the other end of that pipe, and leaves no member behind even when killed. See `cluster`.
"""

import mmap
import sys
from pathlib import Path

from pivot.actors.wallclock import WallClock, system_clock
from pivot.serving import read_settings, serve

OFFSET_BYTES = 8


def skewed_clock(file: Path) -> WallClock:
    """The system's wall clock, off by what is in a file at that moment."""
    with file.open("rb") as stream:
        memory = mmap.mmap(stream.fileno(), OFFSET_BYTES, access=mmap.ACCESS_READ)
    return lambda: system_clock() + int.from_bytes(memory[:OFFSET_BYTES], "little", signed=True)


if __name__ == "__main__":
    serve(read_settings(Path(sys.argv[1])), wall=skewed_clock(Path(sys.argv[2])), until_stdin_ends=True)
