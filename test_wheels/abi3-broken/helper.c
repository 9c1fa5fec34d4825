/* Not imported by Python, yet it uses the C API too. */
int PyGILState_Check();

int held(void) { return PyGILState_Check(); }
