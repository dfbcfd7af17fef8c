"""How a command starts and ends: flags, streams, signals, and errors for people."""
