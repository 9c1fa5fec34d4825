"""The matrix against the real dynamic loader, and layouts against calls."""
