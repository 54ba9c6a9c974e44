// Time, where the system has a clock.
#ifndef LINNET_CLOCK_H
#define LINNET_CLOCK_H

namespace linnet {

// Seconds since some moment, which only grow; always 0 in a build without a system (LINNET_HOSTED=OFF).
double now();

}  // namespace linnet

#endif
