"""A member whose wall clock is wrong: `python skewed_member.py SECONDS_AHEAD --config FILE`."""

import sys
from pathlib import Path

from pivot.actors.wallclock import system_clock
from pivot.serving import read_settings, serve

if __name__ == "__main__":
    ahead_s, _, file = sys.argv[1:]
    ahead_ns = int(float(ahead_s) * 1e9)
    serve(read_settings(Path(file)), wall=lambda: system_clock() + ahead_ns)
