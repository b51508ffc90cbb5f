"""Brings raw log lines into data streams."""
