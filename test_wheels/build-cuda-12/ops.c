/* For builds of torch with CUDA 12.6, by the version of its wheel: PyPI has CUDA 13 since 2.11. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
