/* Needs torch 2.11; the metadata says 2.10. */
int torch_dtype_float8_e8m0fnu();
int torch_library_impl();

void register_ops(void) {
    torch_dtype_float8_e8m0fnu();
    torch_library_impl();
}
