/* Stands for a copy of torch's own library. */
int c10_copy(void) { return 1; }
