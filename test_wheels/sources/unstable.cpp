/* Calls into c10 and at, as code on the unstable C++ API does. The names of the
   library's own functions mention torch's types and are nobody's business. */
namespace c10 {
struct Warning;
void warn(const Warning&);
struct SymInt { long maybe_as_int_slow_path() const; };  /* out of line since 2.9 */
}
namespace at {
struct Tensor;
int get_num_threads();
}
namespace mine {
__attribute__((visibility("default")))
long rank(const at::Tensor&, const c10::SymInt& size, const c10::Warning& warning) {
    c10::warn(warning);
    return size.maybe_as_int_slow_path() + at::get_num_threads();
}
}
