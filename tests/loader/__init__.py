"""The matrix against the real dynamic loader; see `compare`."""
