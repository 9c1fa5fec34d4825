/* Linked to libtorch_python, as torch's build helper does, and uses nothing of it. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
