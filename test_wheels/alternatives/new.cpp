/* Built with torch 2.10: a name that came with it. */
namespace at { int get_num_threads(); }
extern "C" __attribute__((visibility("default"))) int call(void) { return at::get_num_threads(); }
