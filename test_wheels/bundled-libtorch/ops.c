/* Needs the copy of libc10 that a repair step put into the wheel. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
