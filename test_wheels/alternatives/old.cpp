/* Built with torch 2.8 or 2.9: the check takes a char const* and an int. */
namespace c10 { struct MessageLogger { MessageLogger(const char*, int, int); }; }
extern "C" __attribute__((visibility("default"))) void call(void) { c10::MessageLogger(0, 1, 2); }
