/* On the stable ABI, and linked to the runtime of CUDA 12, which torch brings up to 2.10. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
