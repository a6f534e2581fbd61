"""The command line: a command table, one function a command, and the renderers."""
