/* An extension module on CPython's API beyond the stable ABI. */
void *PyModule_Create2(void *definition, int version);
int PyUnicode_AsUTF8AndSize();
int _PyObject_GetDictPtr();
int PyFrame_GetBack();
static int definition[26];

void *PyInit__C(void) {
    PyUnicode_AsUTF8AndSize();
    _PyObject_GetDictPtr();
    PyFrame_GetBack();
    return PyModule_Create2(definition, 1013);
}
