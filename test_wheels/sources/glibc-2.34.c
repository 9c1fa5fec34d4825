/* pthread_create moved into libc.so.6 with glibc 2.34, under a new version. */
int torch_library_impl();
int pthread_create();

void register_ops(void) {
    torch_library_impl();
    pthread_create();
}
