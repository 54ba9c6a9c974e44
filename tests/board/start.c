/* Start-up of a Cortex-M board in QEMU, and how it talks to the host: text, an exit status, instructions, stack. */
#include "start.h"

extern uint32_t board_stack_low, board_stack_top, board_data_load, board_data_start, board_data_end, board_zero_start,
    board_zero_end;

#define PAINT 0xC5C5C5C5u
#define ACCESS_CONTROL (*(volatile uint32_t*)0xE000ED88u)
#define TICKS_CONTROL (*(volatile uint32_t*)0xE000E010u)
#define TICKS_RELOAD (*(volatile uint32_t*)0xE000E014u)
#define TICKS_NOW (*(volatile uint32_t*)0xE000E018u)

static void call_host(int operation, const void* argument) {
  register int first __asm__("r0") = operation;
  register const void* second __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(first) : "r"(second) : "memory");
}

void board_say(const char* text) { call_host(0x04, text); }

void board_leave(uint32_t status) {
  const uint32_t reason[2] = {0x20026u, status};
  for (;;) call_host(0x20, reason);
}

/* Ticks of the processor's clock: with -icount shift=0 an instruction takes a nanosecond. */
void board_start_ticks(void) {
  TICKS_CONTROL = 0;
  TICKS_RELOAD = 0xFFFFFFu;
  TICKS_NOW = 0;
  TICKS_CONTROL = 5;
  while (TICKS_NOW == 0) {
  }
}

uint32_t board_ticks(void) { return 0xFFFFFFu - TICKS_NOW; }

/* Bytes of the stack that were ever written below the frame of the caller's caller. */
uint32_t board_stack_used(void) {
  const uint32_t* word = &board_stack_low;
  while (word < &board_stack_top && *word == PAINT) ++word;
  return (uint32_t)((const char*)&board_stack_top - (const char*)word);
}

int main(void);

__attribute__((noreturn, used)) void board_begin(void) {
  const uint32_t* from = &board_data_load;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  ACCESS_CONTROL |= 0xFu << 20;
  __asm__ volatile("dsb\n isb");
#endif
  for (uint32_t* to = &board_data_start; to < &board_data_end;) *to++ = *from++;
  for (uint32_t* to = &board_zero_start; to < &board_zero_end;) *to++ = 0;
  board_leave((uint32_t)main());
  for (;;) {
  }
}

/* Without a frame of its own: the stack is painted before anything uses it. */
__attribute__((naked, noreturn)) void board_reset(void) {
  __asm__ volatile(
      "ldr r0, =board_stack_low\n ldr r1, =board_stack_top\n ldr r2, =0xC5C5C5C5\n"
      "1: cmp r0, r1\n bhs 2f\n str r2, [r0], #4\n b 1b\n"
      "2: b board_begin\n");
}

static void fault(void) {
  board_say("fault\n");
  board_leave(99);
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) const vector board_vectors[16] = {(vector)&board_stack_top,
                                                                             board_reset,
                                                                             fault,
                                                                             fault,
                                                                             fault,
                                                                             fault,
                                                                             fault,
                                                                             0,
                                                                             0,
                                                                             0,
                                                                             0,
                                                                             fault,
                                                                             fault,
                                                                             0,
                                                                             fault,
                                                                             fault};
