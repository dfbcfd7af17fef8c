"""What a run tells its user: plain lines on stderr."""

import sys


def say(line):
    """Prints a line, at once."""
    print(line, file=sys.stderr, flush=True)
