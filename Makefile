# What a newcomer needs: `make run` for the main job, `make test` for the tests. `make help` lists the rest.

SYSTEM_PACKAGES := libzmq3-dev libssl-dev libsqlite3-dev libprotobuf-c-dev
STUDY ?= Studies/barrier-backdoor.yaml
SECONDS ?= 60

.PHONY: help run test test-long bench fuzz mutations build system protos format lint clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## run        install what is missing, build, and run the main job (STUDY=… for another)
run: build
	.build/release/cairn run $(STUDY) --cluster cluster.yaml

## test       install what is missing, build, and run the tests; among them 20,000 simulated schedules of faults
test: system
	swift build -c release --product CairnPackageTests
	swift test -c release --skip-build
	.build/release/cairn simulate --count 20000

## test-long  the tests and, for a quarter of an hour, the main job at full size under ten seeds and actions
test-long: system
	swift build -c release --product CairnPackageTests
	CAIRN_LONG_TESTS=all swift test -c release --skip-build

## fuzz       feed everything that reads bytes of others to libFuzzer, SECONDS=… for each of eight readers
fuzz: system
	CAIRN_FUZZ=1 swift build --scratch-path .build-fuzz -c release --product Fuzz --sanitize fuzzer
	Fuzz/run.sh $(SECONDS)

## mutations  remove guards of the state machines, one at a time, and see that the simulation finds each
mutations: system
	Tests/Mutations/run.py

## bench      measure: the limit of the machine, Cairn, and its peers where Benchmarks/peers.sh has installed them
bench: build
	swift run -c release --package-path Benchmarks benchmarks --output Docs/Results/benchmarks.md

## build      the command, .build/release/cairn
build: system
	swift build -c release --product cairn

## system     the Debian packages that the build needs
system:
	@if [ -e /usr/include/zmq.h ] && [ -e /usr/include/openssl/evp.h ] && [ -e /usr/include/sqlite3.h ] && [ -e /usr/include/protobuf-c/protobuf-c.h ]; then exit 0; fi; \
	if ! command -v swift >/dev/null; then echo "Swift 6.2 or newer is needed: https://swift.org/install"; exit 1; fi; \
	install="apt-get install -y --no-install-recommends $(SYSTEM_PACKAGES)"; \
	if ! command -v apt-get >/dev/null; then \
		echo "Needed: the headers of libzmq 4.3, OpenSSL, SQLite 3.40 and libprotobuf-c (on Debian: $(SYSTEM_PACKAGES)). Install them, then try again."; exit 1; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update && DEBIAN_FRONTEND=noninteractive $$install; \
	elif command -v sudo >/dev/null && sudo apt-get update && sudo DEBIAN_FRONTEND=noninteractive $$install; then :; \
	else echo "Not root and no sudo. Have an administrator run: apt-get update && $$install"; exit 1; fi

## protos     regenerate what is made from Protos, in Swift, C and Python (needs protobuf-compiler, protobuf-c-compiler)
protos:
	@command -v protoc >/dev/null || { echo "protoc is needed: apt-get install -y protobuf-compiler"; exit 1; }
	swift build -c release --product protoc-gen-swift
	protoc --plugin=.build/release/protoc-gen-swift --swift_out=Sources/Wire/Generated \
		--swift_opt=UseAccessLevelOnImports=true -I Protos $(filter-out Protos/oracle.proto,$(wildcard Protos/*.proto))
	protoc --plugin=.build/release/protoc-gen-swift --swift_out=Sources/PlugIns/Generated \
		--swift_opt=UseAccessLevelOnImports=true -I Protos Protos/oracle.proto
	protoc --python_out=Examples/python/src/cairn_oracle --pyi_out=Examples/python/src/cairn_oracle \
		-I Protos Protos/oracle.proto
	$(MAKE) -C Examples/c protos

## neon       the kernels of AArch64, in an emulator, give the bits of this machine
.PHONY: neon
neon:
	Tests/Interop/neon.sh

## sanitize   the kernels and the numeric tests under the address, undefined-behaviour and thread sanitizers
# Leaks are looked for in the former only: what a Swift global holds in an enum has a tagged pointer, which counts as lost.
.PHONY: sanitize
sanitize: system
	Tests/Interop/sanitize.sh
	for sanitizer in address thread; do \
		ASAN_OPTIONS=detect_leaks=0 swift test -c release --scratch-path .build-$$sanitizer --sanitize=$$sanitizer --disable-xctest \
			--filter 'RegressionTests|PricingTests' || exit 1; \
	done

## format     put the sources into the project's format
format:
	swift format format -i -r Sources Tests Fuzz Package.swift

## lint       check it
lint:
	swift format lint --strict -r Sources Tests Fuzz Package.swift

## clean      remove what was built
clean:
	rm -rf .build .build-fuzz .build-mutations .build-address .build-thread results
