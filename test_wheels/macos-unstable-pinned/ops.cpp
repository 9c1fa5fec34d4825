/* Calls into c10 and at. Each name is asked of the one library that the linker found it in. */
namespace c10 {
struct Warning;
void warn(const Warning&);
struct SymInt { long maybe_as_int_slow_path() const; };  /* out of line since 2.9 */
}
namespace at {
int get_num_threads();
}
namespace mine {
long rank(const c10::SymInt& size, const c10::Warning& warning) {
    c10::warn(warning);
    return size.maybe_as_int_slow_path() + at::get_num_threads();
}
}
