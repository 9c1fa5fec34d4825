/* Operators on torch's stable ABI, as on Linux: the same names, asked of libtorch_cpu. */
int torch_library_impl(void);
int torch_call_dispatcher(void);
int aoti_torch_library_init_fragment(void);

void register_ops(void) {
    torch_library_impl();
    torch_call_dispatcher();
    aoti_torch_library_init_fragment();
}
