"""The queue over HTTP: decode, call, encode."""
