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

# What `make deps` sees to, by Debian's names: to build, to test (the last of them also for the demo), to measure, to format
# and lint.
PACKAGES = gcc libc6-dev make pkg-config clang bpftool libbpf-dev libelf-dev libmnl-dev libsystemd-dev libjansson-dev \
	bats iproute2 python3 strace systemd-container \
	nftables gnuplot-nox \
	clang-format clang-tidy shellcheck
# And to boot other kernels.
PACKAGES += qemu-system-x86 mmdebstrap cpio binutils

# bpftool is in /usr/sbin, which isn't in every user's path.
export PATH := $(PATH):/usr/sbin:/sbin
BPFTOOL ?= bpftool
CLANG   ?= clang
ifeq ($(origin CC),default)
CC = gcc
endif

MODULES    = libbpf libelf libmnl libsystemd jansson
CFLAGS    ?= -O2 -g
HARDENING  = -fstack-protector-strong -fPIE $(SANITIZERS) $(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN_LD  = -pie -Wl,-z,relro,-z,now $(SANITIZERS)
SANITIZERS = $(if $(SANITIZE),-fsanitize=address -fsanitize=undefined)

ISOMER_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(CFLAGS) -Wall -Wextra -Wshadow -Werror $(HARDENING) \
	-DISOMER_VERSION='"$(VERSION)"' -DHELPER_PATH='"$(libexecdir)/isomer-helper"' \
	-Isrc -Ibpf -I$(BUILD) $(shell pkg-config --cflags $(MODULES) 2>/dev/null)
# --as-needed: each program names only the libraries it uses, so that the generator and the helper start quickly.
ISOMER_LDFLAGS := $(HARDEN_LD) -Wl,--as-needed $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(MODULES) 2>/dev/null)
# Debian keeps <asm/types.h> in a directory named after the machine, which `-target bpf` doesn't search.
BPF_CFLAGS := -O2 -g -target bpf -Wall -Wextra -Werror -Ibpf -I/usr/include/$(shell gcc -print-multiarch 2>/dev/null)

objects    = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(1)))
LIBRARY    = $(BUILD)/libisomer.a
PROGRAMS   = $(BUILD)/isomctl $(BUILD)/isomer-helper $(BUILD)/isomer-generator
TEST_TOOLS = $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(wildcard tests/tools/*.c))
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test-*.c))
BENCH_TOOLS = $(addprefix $(BUILD)/bench/,attach-empty make-bindings table-memory time-insert time-lookup time-run \
	traffic)
UNITS      = $(patsubst units/%.in,$(BUILD)/units/%,$(wildcard units/*.in)) $(filter-out %.in,$(wildcard units/*))
SCRIPTS    = .ci/run tests/run tests/bench/bench $(wildcard tests/demo/* tests/vm/*) \
	$(wildcard tests/lib/*.bash tests/*/*.bats)
C_SOURCES  = $(wildcard src/*.c src/*/*.c generators/*.c)

.PHONY: all tests deps install uninstall check check-matrix demo bench format lint clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) ## build isomctl, isomer-helper and isomer-generator (the default)

# stage is what a container of the tests gets laid over its /usr.
tests: all $(TEST_TOOLS) $(UNIT_TESTS) ## build, besides, what the tests run
	@rm -rf $(BUILD)/stage
	@$(MAKE) --no-print-directory -s install DESTDIR=$(abspath $(BUILD))/stage

# --- The programs, each its own sources on the one library; test tools are on their own -------------------------------

$(LIBRARY): $(call objects,src/*.c)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/isomctl: $(call objects,src/isomctl/*.c)
$(BUILD)/isomer-helper: $(call objects,src/helper/*.c)
$(BUILD)/isomer-generator: $(call objects,generators/*.c)
$(TEST_TOOLS): $(BUILD)/tests/%: $(BUILD)/obj/tests/tools/%.o
$(UNIT_TESTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o

# What measures knows nothing of the library, so that it measures any version of it.
$(BENCH_TOOLS): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o
$(addprefix $(BUILD)/bench/,make-bindings time-insert time-lookup): $(BUILD)/obj/tests/bench/bindings.o
$(addprefix $(BUILD)/bench/,table-memory time-lookup): $(BUILD)/obj/tests/bench/state.o
$(addprefix $(BUILD)/obj/tests/bench/,attach-empty.o time-lookup.o): | $(BUILD)/lookup.skel.h

$(PROGRAMS) $(UNIT_TESTS): $(LIBRARY)
$(PROGRAMS) $(UNIT_TESTS) $(TEST_TOOLS) $(BENCH_TOOLS): $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ISOMER_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

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

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# --- Installing ---------------------------------------------------------------------------------------------------

$(BUILD)/units/%: units/%.in $(BUILD)/flags
	@mkdir -p $(@D)
	sed -e 's|@bindir@|$(bindir)|g' -e 's|@libexecdir@|$(libexecdir)|g' -e 's|@docdir@|$(docdir)|g' $< > $@

install: all $(UNITS) ## install below $(DESTDIR)$(PREFIX)
	install -D -t $(DESTDIR)$(bindir) $(BUILD)/isomctl
	install -D -t $(DESTDIR)$(libexecdir) $(BUILD)/isomer-helper
	install -D -t $(DESTDIR)$(generatordir) $(BUILD)/isomer-generator
	install -d $(DESTDIR)$(unitdir)
	$(if $(UNITS),install -m 644 -t $(DESTDIR)$(unitdir) $(UNITS))
	install -D -m 644 -t $(DESTDIR)$(docdir) README.md docs/json.md

uninstall: ## remove what `install` put there
	rm -f $(DESTDIR)$(bindir)/isomctl $(DESTDIR)$(generatordir)/isomer-generator
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(notdir $(UNITS)))
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
	@$(MAKE) --no-print-directory -s deps
	@$(MAKE) --no-print-directory tests
	BUILD=$(abspath $(BUILD)) tests/run $(TESTS)

# For user spaces whose libc is older, a build that brings its own: tests/lib/boot-container tells more.
PORTABLE = -Wl,--dynamic-linker=/usr/lib/isomer-tests/lib/ld.so -Wl,--disable-new-dtags,-rpath,/usr/lib/isomer-tests/lib
check-matrix: tests ## run all tests on other kernels with other systemds, too, or on MACHINES="SUITE..." (root)
	@$(MAKE) --no-print-directory -s tests BUILD=$(BUILD)/portable LDFLAGS="$(PORTABLE)"
	@BUILD=$(abspath $(BUILD)) tests/vm/matrix $(MACHINES)

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

clean: ## remove all that was made
	rm -rf $(BUILD)

help: ## print this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
