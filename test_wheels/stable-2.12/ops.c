/* Operators on torch's stable ABI, with a function that first appeared in 2.12. */
int torch_tag_core();
int torch_library_impl();
int aoti_torch_library_init_fragment();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    torch_tag_core();
    torch_library_impl();
    aoti_torch_library_init_fragment();
    aoti_torch_get_data_ptr();
}
