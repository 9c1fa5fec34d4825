/* The near miss: it admits the releases that bring CUDA 12 alone. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
