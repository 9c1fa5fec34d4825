/* Python 3.14 does not know this hook (PEP 793). */
int _PyObject_GetDictPtr();
int torch_library_impl();
static int slots[16];

void *PyModExport__C(void) {
    _PyObject_GetDictPtr();
    torch_library_impl();
    return slots;
}
