/* Needs torch_cuda.dll, which no build on the package index has. */
__declspec(dllimport) int torch_library_impl(void);
__declspec(dllimport) int aoti_torch_get_current_cuda_stream(void);

__declspec(dllexport) void register_ops(void) {
    torch_library_impl();
    aoti_torch_get_current_cuda_stream();
}
