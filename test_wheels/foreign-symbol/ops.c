/* Uses the copy of cpuinfo that libtorch happens to export. */
int torch_library_impl();
int cpuinfo_initialize();

void register_ops(void) {
    torch_library_impl();
    cpuinfo_initialize();
}
