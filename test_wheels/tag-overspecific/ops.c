/* Uses torch's stable ABI and nothing of CPython, in a wheel for CPython 3.12. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
