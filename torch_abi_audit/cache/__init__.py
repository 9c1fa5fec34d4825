"""What was read and judged before, so that nothing on an index is read twice."""
