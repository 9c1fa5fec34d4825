/* Operators on torch's stable ABI, with a function that first appeared in 2.13. */
int torch_exception_get_what();
int torch_dtype_float8_e8m0fnu();
int aoti_torch_library_init_fragment();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    torch_exception_get_what();
    torch_dtype_float8_e8m0fnu();
    aoti_torch_library_init_fragment();
    aoti_torch_get_data_ptr();
}
