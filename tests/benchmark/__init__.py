"""What an audit costs, beside its peers; not part of the tests."""
