/* Linked to libtorch_cuda: a build of torch without CUDA does not serve it. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
