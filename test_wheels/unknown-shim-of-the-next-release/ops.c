/* Built for a release that the catalog does not know, and it says so. */
int torch_library_impl();
int torch_from_the_future();

void register_ops(void) {
    torch_library_impl();
    torch_from_the_future();
}
