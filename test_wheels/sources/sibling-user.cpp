/* Uses a function in namespace at that the wheel's other library defines. */
namespace at { int ours(int); }
extern "C" int torch_ours();
extern "C" int torch_library_impl();
extern "C" __attribute__((visibility("default"))) int call(void) { return at::ours(1) + torch_ours() + torch_library_impl(); }
