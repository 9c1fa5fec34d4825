/* Operators on torch's stable ABI, with a function that first appeared in 2.10. */
int torch_library_impl();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    torch_library_impl();
    aoti_torch_get_data_ptr();
}
