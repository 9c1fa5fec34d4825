/* An extension module on CPython's stable ABI, at most of 3.9, and torch's. */
void *PyModule_Create2(void *definition, int version);
int PyOS_FSPath();
int PyObject_GetAttrString();
int torch_library_impl();
static int definition[26];

void *PyInit__C(void) {
    PyOS_FSPath();
    PyObject_GetAttrString();
    torch_library_impl();
    return PyModule_Create2(definition, 1013);
}
