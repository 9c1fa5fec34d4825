/* An extension module on CPython's stable ABI; but linked to the library of one version. */
void *PyModule_Create2(void *definition, int version);
int PyOS_FSPath(void);
int torch_library_impl(void);
static int definition[26];

void *PyInit__C(void) {
    PyOS_FSPath();
    torch_library_impl();
    return PyModule_Create2(definition, 1013);
}
