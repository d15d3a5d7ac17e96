"""Importers, one format a file or folder. Each has `read(path)`."""
