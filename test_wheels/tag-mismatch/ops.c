/* Renamed after the repair, without its WHEEL file. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
