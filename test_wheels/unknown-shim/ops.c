/* Two functions that no release of torch in the catalog declares. */
int torch_library_impl();
int aoti_torch_from_the_future();
int torch_from_the_future();

void register_ops(void) {
    torch_library_impl();
    aoti_torch_from_the_future();
    torch_from_the_future();
}
