# libgreen. Everything that is made lies in build/.
#
#   make              build/libgreen.so, build/eventlet-run and the other tools
#   make check        all tests; installs the packages that are missing (PACKAGES=no: does not)
#   make demo         stock Debian programs, native and green side by side
#   make bench        measurements; no test
#   make sanitize     the unit tests built with AddressSanitizer and UBSan
#   make races        what OS threads share, as far as it needs no green thread, under ThreadSanitizer
#   make install      PREFIX (/usr/local) and DESTDIR are honoured; make uninstall undoes it
#
# Sources are picked up by wildcard:
#   coro/*.c hub/*.c hub/debug/*.c preload/*.c  libgreen.so; *.S too. NAME_x86_64.c, NAME_aarch64.S are for
#                                     that architecture alone
#   tools/*.c                         a file with a main() is the program build/NAME; the others are
#                                     linked into each
#   tests/unit/test_*.c, test_*.cc    a Criterion program each, with libgreen's code linked in
#   patch-tables/*.def                what the tables say; see patch-tables/README. The generated
#                                     files are included as "gen/real.h" etc.
# PARTIAL=yes links a library with parts missing, to try the others while they are being written.
# Includes are relative to the top: #include "hub/park.h".

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

CC := gcc
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
AR := ar
OBJCOPY := objcopy
AWK := awk
BUILD := build
PREFIX := /usr/local
DESTDIR :=
PACKAGES := yes

VERSION := $(shell cat VERSION)
ARCH := $(shell $(CC) -dumpmachine | cut -d- -f1)
ARCHES := x86_64 aarch64
GEN := $(BUILD)/gen

OPT := -O2
CFLAGS := $(OPT) -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
# _FORTIFY_SOURCE would turn our calls into calls of the _chk twins that we export.
CPPFLAGS := -D_GNU_SOURCE -U_FORTIFY_SOURCE -DGREEN_VERSION='"$(VERSION)"' -iquote . -iquote $(BUILD)
ALL_CFLAGS = -std=gnu17 $(WARNINGS) $(CFLAGS) -MMD -MP
# initial-exec: a wrapper reads its thread's words with one instruction, and no TLS block is ever
# allocated lazily. Unwind tables let pthread_exit and C++ exceptions pass through our frames, and
# -fexceptions runs the cleanups of those frames (preload/unwind.c stands between them and libgcc_s).
# -fdata-sections, sorted by alignment below, keeps small variables together behind the large tables, so
# that a forked child copies few pages.
LIB_CFLAGS := -fPIC -fvisibility=hidden -fno-semantic-interposition -ftls-model=initial-exec -fno-plt -fno-math-errno \
    -fexceptions -fasynchronous-unwind-tables -fno-stack-protector -fdata-sections

comma := ,
PARTIAL := no
# Nothing unloads libgreen; it initialises before the libraries that may call it.
LIB_LDFLAGS := -shared -Wl,-soname,libgreen.so -Wl,-z,initfirst,-z,now,-z,relro,-z,nodelete,-z,noexecstack \
    $(if $(filter yes,$(PARTIAL)),-Wl$(comma)--unresolved-symbols=ignore-all,-Wl$(comma)--no-undefined) \
    -Wl,--exclude-libs,ALL,-z,text,--build-id,--hash-style=gnu,--sort-section=alignment

# ---- Sources ---------------------------------------------------------------------------------

other_arches := $(filter-out $(ARCH),$(ARCHES))
not_ours = $(foreach a,$(other_arches),%_$(a).c %_$(a).S)
sources = $(filter-out $(not_ours),$(wildcard $(1)/*.c $(1)/*.S))
objects = $(patsubst %,$(BUILD)/%.o,$(basename $(1)))

TABLES := $(addprefix patch-tables/,os.def select.def socket.def thread.def time.def dns.def \
    stdio.def signal.def process.def syscall.def loader.def)
TABLES := $(wildcard $(TABLES))
GENERATED_C := real_table patch_names bodies
GENERATED := $(addprefix $(GEN)/,real.h green.h patch_id.h patch_list.h real_table.c patch_names.c \
    patch_list.c bodies.c prototypes.c exports.map exports.list rows.tsv)
ARCHIVES := libev libcares
GLUE_C := $(ARCHIVES:%=$(GEN)/glue_%.c)

CORO_OBJECTS := $(call objects,$(call sources,coro))
HUB_OBJECTS := $(call objects,$(call sources,hub)) $(GLUE_C:.c=.o)
DEBUG_OBJECTS := $(call objects,$(call sources,hub/debug))
PRELOAD_OBJECTS := $(call objects,$(call sources,preload)) $(GENERATED_C:%=$(GEN)/%.o)
LIB_OBJECTS := $(CORO_OBJECTS) $(HUB_OBJECTS) $(DEBUG_OBJECTS) $(PRELOAD_OBJECTS)
LIB_ARCHIVES := $(ARCHIVES:%=$(BUILD)/%.a)

TOOL_MAINS := $(shell grep -lE '^int main\>' tools/*.c 2>/dev/null)
TOOL_PARTS := $(filter-out $(TOOL_MAINS),$(wildcard tools/*.c))
TOOLS := $(patsubst tools/%.c,$(BUILD)/%,$(TOOL_MAINS))
# eventlet-run checks its options, and greenctl reads traces, with the library's own code.
TOOL_OBJECTS := $(call objects,$(TOOL_PARTS)) $(GEN)/patch_list.o $(GEN)/patch_names.o \
    $(BUILD)/preload/config.o $(addprefix $(BUILD)/hub/debug/,put.o trace_decode.o trace_write.o words.o)
MAIN_OBJECTS := $(call objects,$(TOOL_MAINS))

UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
UNIT_TESTS_CXX := $(patsubst tests/unit/%.cc,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.cc))

# ---- The library -----------------------------------------------------------------------------

.PHONY: all lib tools man
all: lib tools man $(GEN)/prototypes.o
$(GEN)/prototypes.o: private WARNINGS += -Wno-deprecated-declarations

lib: $(BUILD)/libgreen.so $(BUILD)/libgreen.so-gdb.py

# gdb loads OBJECT-gdb.py beside OBJECT, or below its data directory.
$(BUILD)/libgreen.so-gdb.py: tools/libgreen-gdb.py
	@mkdir -p $(@D)
	cp $< $@

tools: $(TOOLS)

# The exported names are the linker's: NAME = green_NAME for a row, twins likewise. So no object
# file defines a libc name, and one that refers to such a name, past real.NAME, shows in nm. Names
# whose wrapper is not written yet are left out here and reported by tests/coverage.
$(BUILD)/exports.opts: $(LIB_OBJECTS) $(GEN)/exports.list
	@nm --defined-only -g $(PRELOAD_OBJECTS) | $(AWK) 'NF == 3 && $$3 ~ /^green_/ { \
	    defined[substr($$3, 7)] = 1 } \
	    END { while ((getline line < "$(GEN)/exports.list") > 0) { split(line, f, " "); \
	        if (f[2] in defined) print "-Wl,--defsym=" f[1] "=green_" f[2] } }' > $@

$(BUILD)/libgreen.so: $(LIB_OBJECTS) $(LIB_ARCHIVES) $(GEN)/exports.map $(BUILD)/exports.opts
	$(CC) $(CFLAGS) $(LIB_LDFLAGS) -Wl,--version-script=$(GEN)/exports.map @$(BUILD)/exports.opts \
	    -o $@ $(LIB_OBJECTS) $(LIB_ARCHIVES) $(LDFLAGS)

$(LIB_OBJECTS): private ALL_CFLAGS += $(LIB_CFLAGS)

$(BUILD)/%.o: %.c | $(GEN)/stamp
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(GEN)/%.o: $(GEN)/%.c | $(GEN)/stamp
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# ---- What the tables make --------------------------------------------------------------------

# Only files whose text changes are replaced, so that a new reason in a row compiles nothing anew.
$(GEN)/stamp: $(TABLES) patch-tables/generate.awk
	@mkdir -p $(GEN)/new
	$(AWK) -v dir=$(GEN)/new -f patch-tables/generate.awk $(TABLES)
	@for f in $(GEN)/new/*; do cmp -s $$f $(GEN)/$${f##*/} || mv $$f $(GEN)/; done; rm -rf $(GEN)/new
	@touch $@

$(GENERATED): $(GEN)/stamp ;

# ---- libev and c-ares ------------------------------------------------------------------------

archive_path = $(shell $(CC) -print-file-name=$(1).a)
libev_syms := hub/evglue.syms
libcares_syms := hub/aresglue.syms

$(GEN)/%.undefined: | $(GEN)/stamp
	nm -u $(call archive_path,$*) 2>/dev/null | $(AWK) '$$1 == "U" { print $$2 }' | sort -u > $@

define archive_rules
$(GEN)/glue_$(1).c $(GEN)/$(1).redefine &: $(GEN)/$(1).undefined $(GEN)/rows.tsv $($(1)_syms) patch-tables/glue.awk
	$(AWK) -v c=$(GEN)/glue_$(1).c -v syms=$(GEN)/$(1).redefine -v prefix=$(1) \
	    -f patch-tables/glue.awk $(GEN)/rows.tsv $($(1)_syms) $(GEN)/$(1).undefined

$(BUILD)/$(1).a: $(GEN)/$(1).redefine
	$(OBJCOPY) --redefine-syms=$$< $$(call archive_path,$(1)) $$@
endef
$(foreach a,$(ARCHIVES),$(eval $(call archive_rules,$(a))))

# ---- Tools -----------------------------------------------------------------------------------

$(BUILD)/libtools.a: $(TOOL_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/greenctl: private LDFLAGS += -lncurses -ltinfo

$(TOOLS): $(BUILD)/%: $(BUILD)/tools/%.o $(BUILD)/libtools.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS)

# ---- Manual pages ----------------------------------------------------------------------------

MAN_PAGES := $(wildcard man/*.[1-8])

man: $(MAN_PAGES:%=$(BUILD)/%)

$(BUILD)/man/%: man/% man/fill.awk $(BUILD)/eventlet-run $(GEN)/exports.list
	@mkdir -p $(@D)
	$(BUILD)/eventlet-run --list-options | $(AWK) -v exports=$(GEN)/exports.list -f man/fill.awk - $< > $@

# ---- Tests -----------------------------------------------------------------------------------

.PHONY: check unit-tests unit coverage dns demo smoke bench conformance stress sanitize races packages-check packages-demo

# libgreen's code as an archive: a test takes what it needs. There the wrappers are called green_*
# and interpose nothing.
$(BUILD)/libgreen.a: $(LIB_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

unit-tests: $(UNIT_TESTS) $(UNIT_TESTS_CXX)

# Criterion's macros assign comparisons to bit-fields, and its tests are functions of its own making.
$(UNIT_TESTS:=.o): private WARNINGS += -Wno-conversion -Wno-missing-prototypes

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libgreen.a $(LIB_ARCHIVES)
	$(CC) $(CFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group $(LDFLAGS) -lcriterion -lm

$(BUILD)/tests/unit/%.o: tests/unit/%.cc
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) -std=gnu++20 -Wall -Wextra $(CFLAGS) -MMD -MP -c -o $@ $<

$(UNIT_TESTS_CXX): private LDFLAGS += -lstdc++

packages-%:
	@if [ "$(PACKAGES)" = yes ]; then tools/install-packages build $*; fi

check: packages-check packages-demo packages-smoke
	@$(MAKE) --no-print-directory all unit-tests
	@BUILD=$(abspath $(BUILD)) MAKE='$(MAKE)' CC='$(CC)' tests/run

unit: unit-tests
	@BUILD=$(abspath $(BUILD)) tests/run unit

coverage: all
	@BUILD=$(abspath $(BUILD)) tests/run coverage

# Every program, and all of CPython's own test modules (half an hour); check runs the quick ones.
conformance: packages-check
	@$(MAKE) --no-print-directory all
	@BUILD=$(abspath $(BUILD)) tests/run conformance
	@BUILD=$(abspath $(BUILD)) tests/conformance/python/run

# STRESS_SECONDS=600 and STRESS_SEED are for the command line.
stress: all
	@BUILD=$(abspath $(BUILD)) tests/run stress

# In a network namespace with a server of its own; needs root.
dns: all
	@BUILD=$(abspath $(BUILD)) tests/run dns

demo: packages-demo
	@$(MAKE) --no-print-directory all
	@BUILD=$(abspath $(BUILD)) tests/smoke/demo

smoke: packages-demo packages-smoke
	@$(MAKE) --no-print-directory all
	@BUILD=$(abspath $(BUILD)) CASE='$(CASE)' tests/smoke/run

bench: packages-bench
	@$(MAKE) --no-print-directory all
	@BUILD=$(abspath $(BUILD)) tests/bench/run

# The preloaded library itself cannot have a sanitizer in it; its code linked into a test can.
sanitize: packages-check
	@$(MAKE) --no-print-directory BUILD=build-sanitize PACKAGES=no \
	    CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined' unit

# ThreadSanitizer wants memory where the kernel's randomization may not leave it, and knows no fences; none
# that it would miss is on the way of races.c.
races: packages-check
	@$(MAKE) --no-print-directory BUILD=build-races PACKAGES=no \
	    CFLAGS='-O1 -g -fsanitize=thread -Wno-tsan' build-races/tests/unit/races
	setarch -R build-races/tests/unit/races

# ---- Installing ------------------------------------------------------------------------------

.PHONY: install uninstall clean
LIBDIR = $(PREFIX)/lib/libgreen
GDB_AUTO_LOAD = /usr/share/gdb/auto-load
# The directory in which each shell looks for completions, below PREFIX/share.
COMPLETIONS := bash/eventlet-run:bash-completion/completions zsh/_eventlet-run:zsh/site-functions \
    fish/eventlet-run.fish:fish/vendor_completions.d bash/greenctl:bash-completion/completions \
    zsh/_greenctl:zsh/site-functions fish/greenctl.fish:fish/vendor_completions.d
completion_to = $(DESTDIR)$(PREFIX)/share/$(lastword $(subst :, ,$(1)))
completion_of = tools/completions/$(firstword $(subst :, ,$(1)))

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)
	install -m 755 $(BUILD)/libgreen.so $(DESTDIR)$(LIBDIR)/libgreen.so
	install -D -m 644 $(BUILD)/libgreen.so-gdb.py $(DESTDIR)$(GDB_AUTO_LOAD)$(LIBDIR)/libgreen.so-gdb.py
	$(foreach t,$(TOOLS),install -m 755 $(t) $(DESTDIR)$(PREFIX)/bin/;)
	$(foreach m,$(MAN_PAGES),install -D -m 644 $(BUILD)/$(m) $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(m)))/$(notdir $(m));)
	$(foreach c,$(COMPLETIONS),install -D -m 644 -t $(call completion_to,$(c)) $(call completion_of,$(c));)

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/libgreen.so $(DESTDIR)$(GDB_AUTO_LOAD)$(LIBDIR)/libgreen.so-gdb.py
	-rmdir $(DESTDIR)$(LIBDIR) 2>/dev/null
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(TOOLS)))
	rm -f $(foreach m,$(MAN_PAGES),$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(m)))/$(notdir $(m)))
	rm -f $(foreach c,$(COMPLETIONS),$(call completion_to,$(c))/$(notdir $(call completion_of,$(c))))

clean:
	rm -rf $(BUILD) build-sanitize build-races

-include $(LIB_OBJECTS:.o=.d) $(TOOL_OBJECTS:.o=.d) $(MAIN_OBJECTS:.o=.d) $(UNIT_TESTS:=.d) $(GEN)/prototypes.d
