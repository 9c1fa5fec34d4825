/* An extension module on CPython's stable ABI, in a wheel that says none. */
void *PyModule_Create2(void *definition, int version);
int PyObject_GetAttrString();
static int definition[26];

void *PyInit__C(void) {
    PyObject_GetAttrString();
    return PyModule_Create2(definition, 1013);
}
