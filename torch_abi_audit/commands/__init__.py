"""What the command does: a module for each of its commands."""
