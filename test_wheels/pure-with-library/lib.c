/* A compiled member in a wheel for any platform. */
int answer(void) { return 42; }
