"""Command-line programs: each parses its flags and makes one call."""

import sys

if sys.argv[:1] == ["-m"]:  # `python -m launch.NAME`, whose imports take seconds
    from launch import stop

    stop.watch()
