/* For the CPU builds of torch, by the version of its wheel, but linked to libtorch_cuda. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
