/* A shim of the header for deprecated ones. */
int torch_library_impl();
int aoti_torch__scaled_mm();

void register_ops(void) {
    torch_library_impl();
    aoti_torch__scaled_mm();
}
