"""Stores on a server of PostgreSQL that several machines share."""
