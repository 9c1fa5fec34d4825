/* PyModuleDef is opaque in abi3t: no module can be made this way. */
void *PyModule_Create2(void *definition, int version);
int torch_library_impl();
static int definition[26];

void *PyInit__C(void) {
    torch_library_impl();
    return PyModule_Create2(definition, 1013);
}
