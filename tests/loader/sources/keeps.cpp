// Has a ThreadLocalState made by torch, in memory of its own, and destroys it by inlined code.
#include <ATen/ThreadLocalState.h>

#include <cstring>
#include <new>

extern "C" int call() {
  alignas(at::ThreadLocalState) static unsigned char memory[sizeof(at::ThreadLocalState)];
  std::memset(memory, 0xaa, sizeof memory);
  auto* state = new (memory) at::ThreadLocalState();
  state->~ThreadLocalState();
  return 1;
}
