"""The command line. Every module in `commands` is one command, loaded when it is asked for."""
