/* Operators on torch's stable ABI, with a function that first appeared in 2.11. */
int torch_dtype_float8_e8m0fnu();
int torch_library_impl();
int aoti_torch_library_init_fragment();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    torch_dtype_float8_e8m0fnu();
    torch_library_impl();
    aoti_torch_library_init_fragment();
    aoti_torch_get_data_ptr();
}
