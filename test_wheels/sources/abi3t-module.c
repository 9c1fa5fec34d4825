/* A module for any Python from 3.15 on, free-threaded or not: PEP 793 and PEP 803. */
int Py_IS_TYPE();
int torch_library_impl();
static int slots[16];

void *PyModExport__C(void) {
    Py_IS_TYPE();
    torch_library_impl();
    return slots;
}
