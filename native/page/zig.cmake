# PyPI's ziglang: clang, a linker and a C library for WebAssembly in one package, the same on every machine. Debian's
# clang 14 has relaxed vectors only by numbers that no browser knows, and its C library brings a system's functions along.
set(CMAKE_SYSTEM_NAME WASI)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_CXX_COMPILER ${LINNET_ZIG} c++ -target wasm32-wasi)
set(CMAKE_CXX_COMPILER_FORCED TRUE)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LINNET_ZIG)
