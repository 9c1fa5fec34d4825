/* A newer function is used where torch has it: a weak import does not stop a load. */
int torch_library_impl();
__attribute__((weak)) int torch_exception_get_what();
__attribute__((weak)) int _ZN3c104impl15tls_is_presentEv();

int call(void) {
    if (torch_exception_get_what) return torch_exception_get_what();
    if (_ZN3c104impl15tls_is_presentEv) return _ZN3c104impl15tls_is_presentEv();
    return torch_library_impl();
}
