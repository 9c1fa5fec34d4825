/* For a build of torch that the catalog knows nothing about. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
