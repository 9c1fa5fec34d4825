/* An extension module on CPython's stable ABI, linked to the DLL of one version. */
__declspec(dllimport) void *PyModule_Create2(void *definition, int version);
__declspec(dllimport) int torch_library_impl(void);
static int definition[26];

__declspec(dllexport) void *PyInit__C(void) {
    torch_library_impl();
    return PyModule_Create2(definition, 1013);
}
