/* Linked against torch, and uses nothing of it. */
int answer(void) { return 42; }
