/* A newer function is used where torch has it: a weak import does not stop a load. */
int torch_library_impl();
__attribute__((weak)) int torch_exception_get_what();

int call(void) {
    if (torch_exception_get_what) return torch_exception_get_what();
    return torch_library_impl();
}
