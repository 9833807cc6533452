# Builds, installs and tests Isomer. All that is made goes into $(BUILD); `make help` lists what can be asked for.
#
# Variables worth setting: CC (gcc or clang), CFLAGS, PREFIX, DESTDIR, and SANITIZE=1 for a build with the address and
# undefined-behaviour sanitizers in a directory of its own. A change of any of them rebuilds what it touches.

VERSION ?= 0.1.0
PREFIX  ?= /usr
DESTDIR ?=
BUILD   ?= $(if $(SANITIZE),build/sanitize,build)

bindir       = $(PREFIX)/bin
docdir       = $(PREFIX)/share/doc/isomer
libexecdir   = $(PREFIX)/lib/isomer
unitdir      = $(PREFIX)/lib/systemd/system
generatordir = $(PREFIX)/lib/systemd/system-generators
mandir       = $(PREFIX)/share/man
bashdir      = $(PREFIX)/share/bash-completion/completions
fishdir      = $(PREFIX)/share/fish/vendor_completions.d
# Where Debian's zsh looks.
zshdir       = $(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)

# What `make deps` sees to, by Debian's names: to build, to test (the last of them also for the demo), to measure, to format
# and lint.
PACKAGES = gcc libc6-dev make pkg-config clang bpftool libbpf-dev libelf-dev libmnl-dev libsystemd-dev libjansson-dev \
	libmicrohttpd-dev \
	bats iproute2 python3 strace systemd-container curl libclang-rt-dev mandoc bash-completion zsh fish \
	nftables gnuplot-nox \
	clang-format clang-tidy shellcheck
# To make packages.
PACKAGES += debhelper dpkg-dev lintian rpm elfutils
# And to boot other kernels.
PACKAGES += qemu-system-x86 mmdebstrap cpio binutils

# bpftool is in /usr/sbin, which isn't in every user's path.
export PATH := $(PATH):/usr/sbin:/sbin
BPFTOOL ?= bpftool
CLANG   ?= clang
ifeq ($(origin CC),default)
CC = gcc
endif

MODULES    = libbpf libelf libmnl libsystemd jansson libmicrohttpd
CFLAGS    ?= -O2 -g
HARDENING  = -fstack-protector-strong -fPIE $(SANITIZERS) $(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN_LD  = -pie -Wl,-z,relro,-z,now $(SANITIZERS)
SANITIZERS = $(if $(SANITIZE),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all) \
	$(if $(FUZZING),-fsanitize=fuzzer-no-link -DLONG_DOCUMENT=$(LONGEST_INPUT))
# Of a fuzzer, in bytes. A document of bindings above it is one that two threads parse.
LONGEST_INPUT = 4096

ISOMER_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(CFLAGS) -Wall -Wextra -Wshadow -Werror $(HARDENING) \
	-DISOMER_VERSION='"$(VERSION)"' -DHELPER_PATH='"$(libexecdir)/isomer-helper"' \
	-DMETRICS_PATH='"$(libexecdir)/isomer-metrics"' \
	-Isrc -Ibpf -I$(BUILD) $(shell pkg-config --cflags $(MODULES) 2>/dev/null)
# --as-needed: each program names only the libraries it uses, so that the generator and the helper start quickly.
ISOMER_LDFLAGS := $(HARDEN_LD) -Wl,--as-needed $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(MODULES) 2>/dev/null)
# Debian keeps <asm/types.h> in a directory named after the machine, which `-target bpf` doesn't search.
BPF_CFLAGS := -O2 -g -ffile-prefix-map=$(CURDIR)=. -target bpf -Wall -Wextra -Werror -Ibpf -I/usr/include/$(shell gcc -print-multiarch 2>/dev/null)

objects    = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(1)))
LIBRARY    = $(BUILD)/libisomer.a
PROGRAMS   = $(addprefix $(BUILD)/,isomctl isomer-helper isomer-metrics isomer-generator)
TEST_TOOLS = $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(wildcard tests/tools/*.c))
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test-*.c))
FUZZERS    = $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz-*.c))
REPLAYS    = $(patsubst tests/fuzz/fuzz-%.c,$(BUILD)/tests/replay-%,$(wildcard tests/fuzz/fuzz-*.c))
BENCH_TOOLS = $(addprefix $(BUILD)/bench/,attach-empty make-bindings table-memory time-insert time-lookup time-run \
	traffic)
UNITS      = $(patsubst units/%.in,$(BUILD)/units/%,$(wildcard units/*.in)) $(filter-out %.in,$(wildcard units/*))
MANUALS    = $(patsubst man/%,$(BUILD)/man/%,$(wildcard man/*.[578]))
# More names of isomer.service(8).
ALIASES    = isomer@.service.8 isomer-bind@.service.8 isomer-helper.8
SCRIPTS    = .ci/run packaging/make-deb packaging/make-rpm tests/run tests/fuzz/run tests/bench/bench $(wildcard tests/demo/* tests/vm/*) \
	$(wildcard tests/lib/*.bash tests/*/*.bats) tests/lib/boot-container tests/lib/get-programs \
	completions/isomctl tests/netns/complete-bash
C_SOURCES  = $(wildcard src/*.c src/*/*.c generators/*.c)

.PHONY: all tests fuzzers deps install uninstall check check-matrix deb rpm soak fuzz demo bench format lint clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) ## build isomctl and the programs beside it (the default)

# stage is what a container of the tests gets laid over its /usr.
tests: all $(TEST_TOOLS) $(UNIT_TESTS) $(REPLAYS) ## build, besides, what the tests run
	@rm -rf $(BUILD)/stage
	@$(MAKE) --no-print-directory -s install DESTDIR=$(abspath $(BUILD))/stage

# --- The programs, each its own sources on the one library; test tools are on their own -------------------------------

$(LIBRARY): $(call objects,src/*.c)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/isomctl: $(call objects,src/isomctl/*.c)
$(BUILD)/isomer-helper: $(call objects,src/helper/*.c)
$(BUILD)/isomer-metrics: $(call objects,src/metrics/*.c)
$(BUILD)/isomer-generator: $(call objects,generators/*.c)
$(TEST_TOOLS): $(BUILD)/tests/%: $(BUILD)/obj/tests/tools/%.o
$(UNIT_TESTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o

# The same targets with libFuzzer, and with a main that gives them files. What Isomer says comes to fuzz.c.
fuzzers: $(FUZZERS)
FUZZ_OBJECTS = $(BUILD)/obj/tests/fuzz/fuzz.o $(BUILD)/obj/generators/facts.o
$(FUZZERS): $(BUILD)/%: $(BUILD)/obj/tests/fuzz/%.o $(FUZZ_OBJECTS)
$(REPLAYS): $(BUILD)/tests/replay-%: $(BUILD)/obj/tests/fuzz/fuzz-%.o $(FUZZ_OBJECTS) $(BUILD)/obj/tests/fuzz/replay.o
$(REPLAYS) $(FUZZERS): private FUZZ_LDFLAGS = -Wl,--wrap=say_error,--wrap=warn $(if $(FUZZING),-fsanitize=fuzzer)

# What measures knows nothing of the library, so that it measures any version of it.
$(BENCH_TOOLS): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o
$(addprefix $(BUILD)/bench/,make-bindings time-insert time-lookup): $(BUILD)/obj/tests/bench/bindings.o
$(addprefix $(BUILD)/bench/,table-memory time-lookup): $(BUILD)/obj/tests/bench/state.o
$(addprefix $(BUILD)/obj/tests/bench/,attach-empty.o time-lookup.o): | $(BUILD)/lookup.skel.h

$(PROGRAMS) $(UNIT_TESTS) $(FUZZERS) $(REPLAYS): $(LIBRARY)
$(PROGRAMS) $(UNIT_TESTS) $(TEST_TOOLS) $(FUZZERS) $(REPLAYS) $(BENCH_TOOLS): $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ISOMER_LDFLAGS) $(FUZZ_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ISOMER_CFLAGS) -MMD -MP -c -o $@ $<

# The dispatcher: C, to BPF, to a header that carries the program within it. Only the library looks into that header,
# but nothing tells which of its objects do before they are compiled once: so it comes before all of them.
$(call objects,src/*.c): | $(BUILD)/dispatcher.skel.h

$(BUILD)/%.bpf.o: bpf/%.bpf.c $(BUILD)/flags
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/%.bpf.o: tests/bench/%.bpf.c $(BUILD)/flags
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@

# Holds the commands that compile and link; touched only when they change, and what was made by the old ones is remade.
COMMANDS = $(CC) $(ISOMER_CFLAGS) $(ISOMER_LDFLAGS) $(LIBS) / $(CLANG) $(BPF_CFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(COMMANDS))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(COMMANDS))' > $@

-include $(wildcard $(BUILD)/*.d) $(shell find $(BUILD)/obj -name '*.d' -type f 2>/dev/null)

# --- Installing ---------------------------------------------------------------------------------------------------

$(BUILD)/units/%: units/%.in $(BUILD)/flags
	@mkdir -p $(@D)
	sed -e 's|@bindir@|$(bindir)|g' -e 's|@libexecdir@|$(libexecdir)|g' -e 's|@docdir@|$(docdir)|g' $< > $@

$(BUILD)/man/%: man/% $(BUILD)/flags
	@mkdir -p $(@D)
	sed -e 's|/usr/bin/isomctl|$(bindir)/isomctl|g' -e 's|/usr/lib/isomer/|$(libexecdir)/|g' \
		-e 's|/usr/lib/systemd/|$(PREFIX)/lib/systemd/|g' $< > $@

install: all $(UNITS) $(MANUALS) ## install below $(DESTDIR)$(PREFIX)
	install -D -t $(DESTDIR)$(bindir) $(BUILD)/isomctl
	install -D -t $(DESTDIR)$(libexecdir) $(BUILD)/isomer-helper $(BUILD)/isomer-metrics
	install -D -t $(DESTDIR)$(generatordir) $(BUILD)/isomer-generator
	install -d $(DESTDIR)$(unitdir)
	$(if $(UNITS),install -m 644 -t $(DESTDIR)$(unitdir) $(UNITS))
	install -D -m 644 -t $(DESTDIR)$(docdir) README.md docs/json.md
	install -D -m 644 -t $(DESTDIR)$(mandir)/man5 $(filter %.5,$(MANUALS))
	install -D -m 644 -t $(DESTDIR)$(mandir)/man7 $(filter %.7,$(MANUALS))
	install -D -m 644 -t $(DESTDIR)$(mandir)/man8 $(filter %.8,$(MANUALS))
	for alias in $(ALIASES); do ln -sf isomer.service.8 $(DESTDIR)$(mandir)/man8/$$alias; done
	install -D -m 644 -t $(DESTDIR)$(bashdir) completions/isomctl
	install -D -m 644 -t $(DESTDIR)$(zshdir) completions/_isomctl
	install -D -m 644 -t $(DESTDIR)$(fishdir) completions/isomctl.fish

uninstall: ## remove what `install` put there
	rm -f $(DESTDIR)$(bindir)/isomctl $(DESTDIR)$(generatordir)/isomer-generator
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(UNITS)))
	rm -f $(addprefix $(DESTDIR)$(mandir)/man5/,$(notdir $(filter %.5,$(MANUALS))))
	rm -f $(addprefix $(DESTDIR)$(mandir)/man7/,$(notdir $(filter %.7,$(MANUALS))))
	rm -f $(addprefix $(DESTDIR)$(mandir)/man8/,$(notdir $(filter %.8,$(MANUALS))) $(ALIASES))
	rm -f $(DESTDIR)$(bashdir)/isomctl $(DESTDIR)$(zshdir)/_isomctl $(DESTDIR)$(fishdir)/isomctl.fish
	rm -rf $(DESTDIR)$(libexecdir) $(DESTDIR)$(docdir)

# Asks for nothing, root and network included, when all packages are there.
deps: ## install the Debian packages that are missing
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -Wf '$${db:Status-Status}' $$package 2>/dev/null | grep -q ^installed || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] && exit; \
	[ $$(id -u) = 0 ] || sudo=sudo; \
	$$sudo apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing

# --- Testing and keeping tidy -------------------------------------------------------------------------------------

# Two makes, for what the first one installs decides how the second one compiles.
check: ## install what is missing, build, and run all tests, or those named by TESTS="FILE..." (root)
	@[ $$(id -u) = 0 ] || { echo "The tests make namespaces and boot containers, which takes root: sudo make check" >&2; exit 1; }
	@$(MAKE) --no-print-directory -s deps
	@$(MAKE) --no-print-directory tests
	@tests/lib/get-programs
	BUILD=$(abspath $(BUILD)) $(if $(SANITIZE),TEST_TIMEOUT=$${TEST_TIMEOUT:-1200}) tests/run $(TESTS)

# For user spaces whose libc is older, a build that brings its own: tests/lib/boot-container tells more.
PORTABLE = -Wl,--dynamic-linker=/usr/lib/isomer-tests/lib/ld.so -Wl,--disable-new-dtags,-rpath,/usr/lib/isomer-tests/lib
check-matrix: ## run the tests, with SHORT=1 a part of them, on other kernels with other systemds, or on MACHINES="SUITE...", begun WITHIN=MINUTES (root)
	@$(MAKE) --no-print-directory -s deps
	@$(MAKE) --no-print-directory -s tests
	@$(MAKE) --no-print-directory -s tests BUILD=$(BUILD)/portable LDFLAGS="$(PORTABLE)"
	@BUILD=$(abspath $(BUILD)) MATRIX_SHORT=$(if $(SHORT),yes) MATRIX_WITHIN=$(WITHIN) tests/vm/matrix $(MACHINES)

deb: ## build the Debian package, into build/deb, and have lintian look at it
	@$(MAKE) --no-print-directory -s deps
	@BUILD=$(abspath $(BUILD)) packaging/make-deb

rpm: ## build the RPM package and one for debuggers, into build/rpm
	@$(MAKE) --no-print-directory -s deps
	@BUILD=$(abspath $(BUILD)) packaging/make-rpm

# Everything at once for SOAK seconds, and what was seen.
SOAK ?= 300
soak: ## traffic for SOAK seconds (300) while bindings, sockets, units and the dispatcher change all the time (root)
	@$(MAKE) --no-print-directory -s deps
	@$(MAKE) --no-print-directory tests
	SOAK=$(SOAK) TEST_TIMEOUT=$$(($(SOAK) + 300)) BUILD=$(abspath $(BUILD)) tests/run tests/soak/soak.bats

FUZZ_SECONDS ?= 60
fuzz: ## let all fuzz targets, or those of FUZZ="section ...", make up inputs for FUZZ_SECONDS=60 each
	@$(MAKE) --no-print-directory -s deps
	@$(MAKE) --no-print-directory -s fuzzers CC=$(CLANG) SANITIZE=1 FUZZING=1 BUILD=$(BUILD)/fuzz
	@BUILD=$(BUILD)/fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) LONGEST_INPUT=$(LONGEST_INPUT) tests/fuzz/run $(FUZZ)

demo: ## install what is missing, build, and show Isomer at work in a throw-away systemd (root)
	@$(MAKE) --no-print-directory -s deps
	@echo building…
	@$(MAKE) --no-print-directory -s tests >/dev/null
	@BUILD=$(abspath $(BUILD)) tests/demo/demo

# The plot goes into docs/ of the working tree.
bench: ## measure all, or the parts named by BENCH="lookup udp tcp ..."; a table, build/bench/bench.md, a plot (root)
	@$(MAKE) --no-print-directory -s deps
	@$(MAKE) --no-print-directory -s tests $(BENCH_TOOLS)
	@BUILD=$(abspath $(BUILD)) tests/bench/bench $(BENCH)

format: ## let clang-format have its way with all C files
	clang-format -i $(shell find bpf src generators tests -name '*.[ch]')

lint: $(BUILD)/dispatcher.skel.h ## clang-tidy over the C sources, shellcheck over the scripts
	clang-format --dry-run -Werror $(shell find bpf src generators tests -name '*.[ch]')
	# What bpftool wrote isn't judged, so its directory is a system's here. A file at a time, in parallel: given many,
	# clang-tidy 14 takes what it saw in one for facts about the next.
	printf '%s\n' $(C_SOURCES) | xargs -P $$(nproc) -I FILE clang-tidy --quiet --warnings-as-errors='*' FILE -- \
		$(subst -I$(BUILD),-isystem $(BUILD),$(ISOMER_CFLAGS))
	shellcheck -x $(SCRIPTS)
	mandoc -T lint -W warning $(wildcard man/*)

clean: ## remove all that was made
	rm -rf $(BUILD)

help: ## print this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
