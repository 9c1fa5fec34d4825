"""A small mutation tester; see `tests.mutation.__main__`."""
