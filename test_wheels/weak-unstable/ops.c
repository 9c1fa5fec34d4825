/* It loads with any torch, and crashes where torch lacks what it does not ask about. */
int torch_library_impl();
__attribute__((weak)) int _ZN3c104impl15tls_is_presentEv();

int call(void) { return _ZN3c104impl15tls_is_presentEv() + torch_library_impl(); }
