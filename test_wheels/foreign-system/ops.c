/* What the wheel is for. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
