// A small pool of threads that is kept between calls, and scratch space for each of them.
#ifndef LINNET_PARTS_H
#define LINNET_PARTS_H

#include <cstdint>

#include "threads.h"

namespace linnet {

// What one thread does: its number, and scratch space of its own.
using Part = void (*)(void* context, int thread, void* scratch);

// Runs `part` once for every number below `threads`, at the same time where the system gives threads, and waits for
// all. Whoever calls while another call runs waits for its turn. False if there is no memory for the scratch space;
// nothing has run then.
bool run_parts(int threads, std::int64_t scratch_bytes, Part part, void* context);

}  // namespace linnet

#endif
