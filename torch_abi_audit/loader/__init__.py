"""How the loader treats the libraries of a target: which finds which, and with which torch."""
