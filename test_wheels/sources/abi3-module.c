/* An extension module on CPython's stable ABI of 3.11. */
void *PyModule_Create2(void *definition, int version);
int PyObject_GetBuffer();
int PyUnicode_AsUTF8AndSize();
static int definition[26];

void *PyInit__C(void) {
    PyObject_GetBuffer();
    PyUnicode_AsUTF8AndSize();
    return PyModule_Create2(definition, 1013);
}
