/* Needs torch 2.10; the metadata asks for it with an extra only. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
