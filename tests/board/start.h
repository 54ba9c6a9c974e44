/* What the start-up of a board offers to the program that it runs. */
#ifndef BOARD_START_H
#define BOARD_START_H

#include <stdint.h>

void board_say(const char* text);
void board_leave(uint32_t status);
void board_start_ticks(void);
uint32_t board_ticks(void);
uint32_t board_stack_used(void);

#endif
