"""The arguments of the commands, a module each."""
