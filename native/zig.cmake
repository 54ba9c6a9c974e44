# PyPI's ziglang: clang, a linker and the C libraries of many systems in one package, the same on every machine. For the
# page Debian's clang 14 would not do: it has relaxed vectors only by numbers that no browser knows, and its C library
# brings a system's functions along. For wheels it links against any version of glibc or musl, without a container.
# LINNET_ZIG is the program, LINNET_TARGET what it compiles for, such as wasm32-wasi or x86_64-linux-gnu.2.17.
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${LINNET_TARGET}")
set(CMAKE_CXX_COMPILER ${LINNET_ZIG} c++ -target ${LINNET_TARGET})
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LINNET_ZIG LINNET_TARGET)
# To find out what it is and what it can, CMake would link programs: for minutes, since the compiler first builds its C++
# library, which linnet does not use.
set(CMAKE_CXX_COMPILER_ID_RUN TRUE)
set(CMAKE_CXX_COMPILER_ID Clang)
set(CMAKE_CXX_COMPILER_VERSION 22.1)
set(CMAKE_CXX_COMPILER_FRONTEND_VARIANT GNU)
set(CMAKE_CXX_STANDARD_COMPUTED_DEFAULT 17)
if(LINNET_TARGET MATCHES "wasi")
  set(CMAKE_SYSTEM_NAME WASI)
  set(CMAKE_CXX_COMPILER_FORCED TRUE)
else()
  set(CMAKE_SYSTEM_NAME Linux)
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  # Nor does it know then how to take paths out of a library again: none are put in.
  set(CMAKE_BUILD_WITH_INSTALL_RPATH TRUE)
endif()
