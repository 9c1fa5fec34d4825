/* Compiled for aarch64, in a wheel for x86_64. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
