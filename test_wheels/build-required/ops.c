/* Requires the CPU build of torch, whose exports were measured. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
