/* Runs the programs of a file (tests/engine/cases.py writes it) on one thread and writes their outputs of the first
 * picture, number by number: for builds without threads or a system. In C, as those who use the library from C do.
 *
 *     run_program <FILE >NUMBERS
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

/* A program whose height is read. */
static int run(int64_t height) {
  /* width, pictures, channels, layers, inputs, bytes of data, outputs; then the tolerance */
  const int64_t* counts = read_all(sizeof(int64_t), 8);
  const int64_t picture = height * counts[0] * counts[2];
  const linnet_layer* layers = read_all(sizeof(linnet_layer), counts[3]);
  const int32_t* inputs = read_all(sizeof(int32_t), counts[4]);
  const void* data = read_all(1, counts[5]);
  const void* table = read_all(layers[0].precision == LINNET_UINT8 ? 1 : sizeof(float), counts[2] * 256);
  const int32_t* outputs = read_all(sizeof(int32_t), counts[6]);
  const uint8_t* pixels = read_all(1, picture * counts[1]);
  void** places = malloc(sizeof(void*) * (size_t)counts[6]);
  int64_t* bytes = malloc(sizeof(int64_t) * (size_t)counts[6]);
  for (int64_t i = 0; i < counts[6]; ++i) {
    bytes[i] = *(const int64_t*)read_all(sizeof(int64_t), 1);
    places[i] = read_all(1, bytes[i]); /* what is expected makes room for what comes */
    for (int64_t number = 0; number < bytes[i]; ++number) ((uint8_t*)places[i])[number] = 0;
  }
  const linnet_options options = {.height = (int32_t)height,
                                  .width = (int32_t)counts[0],
                                  .threads = 1,
                                  .schedule = LINNET_AUTO,
                                  .joins_rows = -1,
                                  .outputs = outputs,
                                  .output_count = (int32_t)counts[6],
                                  .table = table};
  linnet_error error = {{0}};
  linnet_network* network = NULL;
  linnet_session* session = NULL;
  int code = linnet_network_open(layers, counts[3], inputs, counts[4], data, counts[5], &network, &error);
  if (code == LINNET_OK) code = linnet_session_open(network, &options, &session, &error);
  if (code == LINNET_OK) code = linnet_session_run(session, pixels, 1, places, &error);
  linnet_session_close(session);
  linnet_network_close(network);
  if (code != LINNET_OK) {
    fprintf(stderr, "%s\n", error.text);
    return code;
  }
  for (int64_t i = 0; i < counts[6]; ++i) fwrite(places[i], 1, (size_t)(bytes[i] / counts[1]), stdout);
  return 0;
}

int main(void) {
  int64_t height;
  int code = 0;
  while (code == 0 && fread(&height, sizeof(height), 1, stdin) == 1) code = run(height);
  return code;
}
