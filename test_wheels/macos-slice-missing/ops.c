/* For arm64 alone, in a wheel that promises x86_64 too. */
int torch_library_impl(void);
int torch_call_dispatcher(void);
int aoti_torch_library_init_fragment(void);

void register_ops(void) {
    torch_library_impl();
    torch_call_dispatcher();
    aoti_torch_library_init_fragment();
}
