"""One module a command; each has a click command named `command`. A new file is a new command."""
