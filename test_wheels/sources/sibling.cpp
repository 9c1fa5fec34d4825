/* Defines what user.cpp asks for. */
namespace at { __attribute__((visibility("default"))) int ours(int value) { return value; } }
extern "C" __attribute__((visibility("default"))) int torch_ours() { return 1; }
