/* at::get_num_threads and c10::warn, as Microsoft's compiler mangles them. */
__declspec(dllimport) int get_num_threads(void) __asm__("?get_num_threads@at@@YAHXZ");
__declspec(dllimport) void warn(void *) __asm__("?warn@c10@@YAXAEBVWarning@1@@Z");

__declspec(dllexport) int rank(void *warning) {
    warn(warning);
    return get_num_threads();
}
