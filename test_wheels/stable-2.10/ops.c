/* Operators on torch's stable ABI, with a function that first appeared in 2.10. */
int torch_library_impl();
int torch_call_dispatcher();
int aoti_torch_library_init_fragment();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    torch_library_impl();
    torch_call_dispatcher();
    aoti_torch_library_init_fragment();
    aoti_torch_get_data_ptr();
}
