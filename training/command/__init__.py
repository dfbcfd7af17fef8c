"""The start and the end of a command: flags, streams, signals, and errors for people."""
