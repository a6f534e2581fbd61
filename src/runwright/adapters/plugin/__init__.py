"""Plugins: executors in processes of their own, spoken to over gRPC.

`plugin.proto` is the protocol; ``plugin_pb2.py`` and ``plugin_pb2.pyi`` are made from it by ``tools/plugin_stubs``. Only
what needs gRPC imports it, so that `Remote` can be named where the extra is not installed.
"""
