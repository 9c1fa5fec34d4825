/* An extension module on CPython's stable ABI, under a name that only 3.10 imports. */
void *PyModule_Create2(void *definition, int version);
int PyObject_GetAttrString();
static int definition[26];

void *PyInit__C(void) {
    PyObject_GetAttrString();
    return PyModule_Create2(definition, 1013);
}
