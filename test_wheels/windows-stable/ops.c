/* Operators on torch's stable ABI, in a DLL that Python does not import. */
__declspec(dllimport) int torch_library_impl(void);
__declspec(dllimport) int torch_call_dispatcher(void);

__declspec(dllexport) void register_ops(void) {
    torch_library_impl();
    torch_call_dispatcher();
}
