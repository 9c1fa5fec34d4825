/* Every function is older than 2.9, where the promise begins: that is the floor. */
int aoti_torch_library_impl();
int aoti_torch_library_init_fragment();
int aoti_torch_get_data_ptr();

void register_ops(void) {
    aoti_torch_library_impl();
    aoti_torch_library_init_fragment();
    aoti_torch_get_data_ptr();
}
