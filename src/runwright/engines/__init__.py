"""The loops: decide with `core`, act through `ports`, record, repeat."""
