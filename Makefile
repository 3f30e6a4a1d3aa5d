# SPDX-License-Identifier: Apache-2.0
# The front door. Everything real stands in CMake (presets) and in tools/.
.PHONY: run build test demo bench asan tsan fuzz lint lint-deep fmt cov clang valgrind soak clean setup
.DEFAULT_GOAL := build
JOBS ?= $(shell nproc)

setup: build/.setup          # install what is missing, once (Debian packages, npm packages)
build/.setup: tools/setup tools/packages.txt web/package-lock.json
	@tools/setup
	@mkdir -p build && touch $@

build: setup                 # build/hune and build/hune-server
	@cmake --preset dev >build/cmake.log 2>&1 || { cat build/cmake.log; exit 1; }
	@cmake --build build -j $(JOBS)

run: build                   # watch this machine: http://127.0.0.1:4863
	@build/hune run

test: build                  # every test; ctest's summary ends the output
	@tools/run-tests build

demo: build                  # the volunteering platform in miniature, under hune
	@examples/association/demo

bench: build                 # figures beside their targets and peers
	@tools/bench build

asan tsan: setup             # unit, prop, sim, fuzz replay and conformance under a sanitizer
	@cmake --preset $@ >/dev/null && cmake --build build-$@ -j $(JOBS)
	@tools/run-tests build-$@ -L 'unit|prop|sim|fuzz|conform'

FUZZ_SECONDS ?= 60
fuzz: setup                  # every fuzz target for FUZZ_SECONDS each
	@cmake --preset fuzz >/dev/null && cmake --build build-fuzz -j $(JOBS)
	@tools/fuzz build-fuzz $(FUZZ_SECONDS)

clang: setup                 # the second compiler, warnings are errors
	@cmake --preset clang -DHUNE_WERROR=ON >/dev/null && cmake --build build-clang -j $(JOBS)

valgrind: build
	@tools/valgrind build

cov: setup
	@cmake --preset cov >/dev/null && cmake --build build-cov -j $(JOBS) && tools/run-tests build-cov -L 'unit|prop|sim' && tools/coverage build-cov

lint: build
	@tools/lint build

lint-deep: build             # with clang's path-sensitive analyzer: many minutes
	@tools/lint build deep

fmt:
	@git ls-files 'src/*.c' 'src/*.h' 'test/*.c' 'test/*.h' | xargs clang-format-14 -i

clean:
	rm -rf build build-*
