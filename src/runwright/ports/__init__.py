"""The doors of the engine, as protocols. They import `runwright.core` and nothing else."""
