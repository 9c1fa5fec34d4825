"""From findings to what passes: policy, verdict, ignores, and wheels of one release together."""
