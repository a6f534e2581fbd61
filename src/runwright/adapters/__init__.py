"""The world behind the ports, one vendor in a file."""
