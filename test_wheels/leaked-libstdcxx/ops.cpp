/* The linker bound a name of libstdc++ to libtorch, which exports it without a version. */
extern "C" int torch_library_impl();
extern "C" void _ZSt21ios_base_library_initv();

extern "C" __attribute__((visibility("default"))) int call(void) {
    _ZSt21ios_base_library_initv();
    return torch_library_impl();
}
