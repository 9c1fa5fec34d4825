/* c10::warn, asked of libtorch_cpu: the name exists, and not where dyld looks for it. */
namespace c10 {
struct Warning;
void warn(const Warning&);
}
namespace mine {
void complain(const c10::Warning& warning) { c10::warn(warning); }
}
