"""From findings to results: policy, verdict, ignores, and wheels of one release together."""
