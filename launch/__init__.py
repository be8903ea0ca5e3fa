"""Commands: flags in, one call out."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is about to run a command, whose imports take seconds
    from launch import stop

    stop.watch()
