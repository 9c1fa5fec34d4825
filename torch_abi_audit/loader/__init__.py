"""What the loader does with the libraries of a target: who finds whom, and with which torch."""
