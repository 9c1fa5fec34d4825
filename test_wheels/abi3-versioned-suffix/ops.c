/* No module: torch loads it by its path, so its name does not matter. */
int answer(void) { return 42; }
