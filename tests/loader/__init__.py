"""The matrix against real dynamic loaders, and layouts against calls."""
