"""A zip archive as bounded random access to its members, from a file or over HTTP."""
