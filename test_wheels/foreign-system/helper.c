/* A helper for another system, of the same machine. */
__declspec(dllexport) int helped(void) { return 1; }
