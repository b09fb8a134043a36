"""Formats of our own files, and writing them so that nothing is lost."""
