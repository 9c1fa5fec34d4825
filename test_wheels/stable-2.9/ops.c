/* Operators on torch's stable ABI, with a function that first appeared in 2.9. */
int aoti_record_function_start();
int aoti_torch_library_init_fragment();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    aoti_record_function_start();
    aoti_torch_library_init_fragment();
    aoti_torch_get_data_ptr();
}
