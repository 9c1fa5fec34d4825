/* Built for a newer macOS than the wheel's tag promises. */
int helped(void) { return 1; }
