/* Needs torch 2.10; the metadata says 2.14. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
