/* Runs the first program of a file (tests/engine/cases.py writes it) on one thread and writes its outputs of the first
 * picture, float by float: for builds without threads or a system. In C, as those who use the library from C do.
 *
 *     run_program <FILE >FLOATS
 */
#include <stdio.h>
#include <stdlib.h>

#include "linnet.h"

static void* read_all(size_t size, int64_t count) {
  void* memory = malloc(size * (size_t)count + 1);
  if (memory == NULL || fread(memory, size, (size_t)count, stdin) != (size_t)count) {
    fprintf(stderr, "The file ends too early.\n");
    exit(1);
  }
  return memory;
}

int main(void) {
  /* height, width, pictures, channels, layers, inputs, weights, outputs; then the tolerance */
  const int64_t* counts = read_all(sizeof(int64_t), 9);
  const int64_t picture = counts[0] * counts[1] * counts[3];
  const linnet_layer* layers = read_all(sizeof(linnet_layer), counts[4]);
  const int32_t* inputs = read_all(sizeof(int32_t), counts[5]);
  const float* weights = read_all(sizeof(float), counts[6]);
  const float* table = read_all(sizeof(float), counts[3] * 256);
  const int32_t* outputs = read_all(sizeof(int32_t), counts[7]);
  const uint8_t* pixels = read_all(1, picture * counts[2]);
  float** places = malloc(sizeof(float*) * (size_t)counts[7]);
  int64_t* floats = malloc(sizeof(int64_t) * (size_t)counts[7]);
  for (int64_t i = 0; i < counts[7]; ++i) {
    floats[i] = *(const int64_t*)read_all(sizeof(int64_t), 1);
    places[i] = read_all(sizeof(float), floats[i]); /* what is expected makes room for what comes */
    for (int64_t number = 0; number < floats[i]; ++number) places[i][number] = 0;
  }
  const linnet_options options = {.height = (int32_t)counts[0],
                                  .width = (int32_t)counts[1],
                                  .threads = 1,
                                  .schedule = LINNET_AUTO,
                                  .joins_rows = -1,
                                  .outputs = outputs,
                                  .output_count = (int32_t)counts[7],
                                  .table = table};
  linnet_error error = {{0}};
  linnet_network* network = NULL;
  linnet_session* session = NULL;
  int code = linnet_network_open(layers, counts[4], inputs, counts[5], weights, counts[6], &network, &error);
  if (code == LINNET_OK) code = linnet_session_open(network, &options, &session, &error);
  if (code == LINNET_OK) code = linnet_session_run(session, pixels, 1, places, &error);
  linnet_session_close(session);
  linnet_network_close(network);
  if (code != LINNET_OK) {
    fprintf(stderr, "%s\n", error.text);
    return code;
  }
  for (int64_t i = 0; i < counts[7]; ++i) fwrite(places[i], sizeof(float), (size_t)(floats[i] / counts[2]), stdout);
  return 0;
}
