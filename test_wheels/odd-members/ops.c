/* The same library under names and in places that a glob for *.so misses. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
