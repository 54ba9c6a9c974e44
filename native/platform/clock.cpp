#include "clock.h"

#if LINNET_HOSTED
#include <time.h>
#endif

namespace linnet {

double now() {
#if LINNET_HOSTED
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
#else
  return 0;
#endif
}

}  // namespace linnet
