# An image that serves models: docker build -t linnet . && docker run --rm -p 8000:8000 linnet
# About 112 MB: Alpine and Python 46, linnet with its models 24, numpy 20, Pillow 18, the rest 4. numpy is built without
# a BLAS (30 MB), which the native engine does not use; what only training, conversion and reports need stays out.
FROM python:3.13-alpine AS build
RUN apk add --no-cache build-base cmake linux-headers samurai
WORKDIR /linnet
ENV PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/linnet/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt .
RUN pip install --prefix=/served --no-compile --no-binary numpy -C setup-args=-Dallow-noblas=true numpy
RUN pip install --prefix=/served --no-compile Pillow safetensors tyro starlette uvicorn python-multipart prometheus-client
COPY pyproject.toml CMakeLists.txt README.md LICENSE ./
COPY native native
COPY src src
# The final image has no C++ runtime.
RUN pip install --prefix=/served --no-compile --no-deps . \
      -C cmake.define.CMAKE_SHARED_LINKER_FLAGS="-static-libstdc++ -static-libgcc"
# Libraries that wheels bring are left as they are: their addresses were patched, and strip can break them.
RUN find /served -type d -name tests -prune -exec rm -rf {} + \
 && find /served \( -name '*.pyi' -o -name '*.a' -o -name '*.h' \) -delete \
 && find /served -name '*.so*' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

FROM python:3.13-alpine
COPY --from=build /served /usr/local
RUN adduser -D -u 1000 linnet
USER linnet
ENV PYTHONDONTWRITEBYTECODE=1 LINNET_CACHE=/tmp/linnet
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# Every address of the container; who may reach it is said by `docker run -p`, and LINNET_TOKEN asks for a key.
ENTRYPOINT ["linnet", "serve", "--host", "0.0.0.0"]
CMD ["--model", "clothing"]
