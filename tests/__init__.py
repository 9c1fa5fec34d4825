"""The tests: unit tests over hand-built facts, property tests over bytes, end-to-end tests."""
