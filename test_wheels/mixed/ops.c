/* The half that was migrated. */
int torch_library_impl();

void register_ops(void) {
    torch_library_impl();
}
