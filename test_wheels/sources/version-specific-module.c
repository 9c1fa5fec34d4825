/* A module for one Python: it uses what the stable ABI does not have. */
void *PyModule_Create2(void *definition, int version);
int _PyObject_GetDictPtr();
int torch_library_impl();
static int definition[26];

void *PyInit__C(void) {
    _PyObject_GetDictPtr();
    torch_library_impl();
    return PyModule_Create2(definition, 1013);
}
