/* An extension module for one Python, which imports nothing but the stable ABI. */
void *PyModule_Create2(void *definition, int version);
int PyOS_FSPath();
int torch_library_impl();
static int definition[26];

void *PyInit__C(void) {
    PyOS_FSPath();
    torch_library_impl();
    return PyModule_Create2(definition, 1013);
}
