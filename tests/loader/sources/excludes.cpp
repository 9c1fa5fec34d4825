// Names a dispatch key by its bit in a set of keys only.
#include <c10/core/impl/LocalDispatchKeySet.h>

extern "C" void* call() {
  return new c10::impl::ExcludeDispatchKeyGuard(
      c10::DispatchKeySet(c10::DispatchKey::ADInplaceOrView));
}
