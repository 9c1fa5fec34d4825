"""Published wheels: which of an index, read one by one or by many machines, and through a cache."""
