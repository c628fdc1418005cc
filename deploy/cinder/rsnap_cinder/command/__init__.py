"""The programs of this package."""
