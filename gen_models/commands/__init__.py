"""The commands, a file for one or two: each adds its arguments to a parser and runs."""
