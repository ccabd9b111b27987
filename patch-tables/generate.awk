# Makes everything that lists libc symbols from the rows of patch-tables/*.def (see README there).
#
#   awk -v dir=build/gen -f patch-tables/generate.awk patch-tables/os.def ...
#
# One group per file, named for it; the order of the files is the order of enum patch_group_id.
# A table that cannot be read is an error with file and line, never a row silently left out.
# Written for POSIX awk (mawk, gawk, busybox).

function fail(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text > "/dev/stderr"
    failed = 1
    exit 1
}

function trim(s) {
    sub(/^[ \t]+/, "", s)
    sub(/[ \t]+$/, "", s)
    return s
}

# Splits "a, (b, c), \"d, e\"" at its outer commas into field[1..n]; returns n, or -1 while a
# parenthesis or a string is still open.
function split_fields(s, field,    i, c, depth, quoted, n, part) {
    n = 0
    part = ""
    depth = 0
    quoted = 0
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (quoted) {
            if (c == "\\") {
                part = part c
                c = substr(s, ++i, 1)
            } else if (c == "\"") {
                quoted = 0
            }
        } else if (c == "\"") {
            quoted = 1
        } else if (c == "(") {
            depth++
        } else if (c == ")") {
            depth--
        } else if (c == "," && depth == 0) {
            field[++n] = trim(part)
            part = ""
            continue
        }
        part = part c
    }
    if (depth > 0 || quoted)
        return -1
    field[++n] = trim(part)
    return n
}

function add_name(name) {
    if (name !~ /^[A-Za-z_][A-Za-z0-9_]*$/)
        fail("not a symbol name: " name)
    if (name in known)
        fail("a second row for " name)
    known[name] = 1
}

function add_row(kind, ret, name, params, args, version, why) {
    add_name(name)
    if (params !~ /^\(.*\)$/)
        fail(name ": the parameters are not in parentheses")
    if (args != "VARIADIC" && args !~ /^\(.*\)$/)
        fail(name ": the arguments are neither in parentheses nor VARIADIC")
    if (version != "DEFAULT" && version !~ /^GLIBC_[0-9_]+$/)
        fail(name ": version is neither DEFAULT nor GLIBC_x_y: " version)
    if (why !~ /^".+"$/)
        fail(name ": no reason")
    row_count++
    row_kind[row_count] = kind
    row_ret[row_count] = ret
    row_name[row_count] = name
    row_params[row_count] = params
    row_args[row_count] = args
    row_version[row_count] = version
    row_why[row_count] = why
    row_group[row_count] = group
}

function add_record(macro, n, field) {
    if (macro == "ROW" && n == 7) {
        if (field[1] !~ /^(WAITS|BOOKS|PASSES)$/)
            fail("no such kind: " field[1])
        if (field[1] == "PASSES" && field[5] == "VARIADIC")
            fail(field[3] ": a variadic symbol cannot pass its arguments on")
        add_row(field[1], field[2], field[3], field[4], field[5], field[6], field[7])
    } else if (macro == "FORTIFIED" && n == 9) {
        add_row("FORTIFIED", field[1], field[2], field[3], field[4], field[8], field[9])
        row_bound[row_count] = field[5]
        row_target[row_count] = field[6]
        row_target_args[row_count] = field[7]
    } else if (macro == "STREAM" && n == 7) {
        add_row("WAITS", field[1], field[2], field[3], field[4], field[6], field[7])
        row_stream[row_count] = field[5]
    } else if (macro == "TWIN" && n == 3) {
        add_name(field[1])
        twin_count++
        twin_name[twin_count] = field[1]
        twin_of[twin_count] = field[2]
        twin_why[twin_count] = field[3]
        twin_group[twin_count] = group
    } else if (macro == "UNCHECKED" && n == 2) {
        unchecked[field[1]] = field[2]
    } else {
        fail("cannot read this " macro " with " n " fields")
    }
}

FNR == 1 {
    if (record != "")
        fail("the file before this one ends inside a row")
    group = FILENAME
    sub(/^.*\//, "", group)
    sub(/\.def$/, "", group)
    group_name[++group_count] = group
}

/^[ \t]*(#|$)/ && record == "" { next }

{
    record = record == "" ? trim($0) : record " " trim($0)
    open_paren = index(record, "(")
    macro = substr(record, 1, open_paren - 1)
    if (macro !~ /^[A-Z]+$/)
        fail("neither a row nor a comment: " record)
    if (split_fields(record, whole) == -1)
        next
    if (record !~ /\)$/)
        fail("something follows the row: " record)
    body = substr(record, open_paren + 1, length(record) - open_paren - 1)
    n = split_fields(body, field)
    add_record(macro, n, field)
    record = ""
}

function is_void(ret) {
    return ret ~ /(^|[^A-Za-z0-9_*])void$/
}

# What a function that this libc lacks gives back: the error value of its family.
function missing_body(ret, name) {
    if (ret ~ /^NORETURN/)
        return "__builtin_trap();"
    if (is_void(ret))
        return "errno = ENOSYS;"
    if (ret ~ /\*$/ || ret ~ /handler_t$/)
        return "errno = ENOSYS; return NULL;"
    if (name ~ /^_*pthread_/ || name ~ /^posix_/ || name == "clock_nanosleep" || name == "sigwait")
        return "return ENOSYS;"
    if (name ~ /^(thrd|mtx|cnd|tss)_/)
        return "return thrd_error;"
    return "errno = ENOSYS; return (" ret ")-1;"
}

# A call of CALLEE with ARGS as the last statement of a function that returns RET.
function call_of(ret, callee, args) {
    return (is_void(ret) ? "" : "return ") callee args ";"
}

function write_real_h(    i, file) {
    file = dir "/real.h"
    print "/* Made from patch-tables: libc's own functions behind the symbols that libgreen exports. */" > file
    print "#pragma once" > file
    print "#include \"patch-tables/headers.h\"\n" > file
    print "/* Immutable once real_bind() has run. Before that each pointer is a function of the same" > file
    print " * prototype that runs real_bind() and then calls on, so a call through the table works in any" > file
    print " * constructor, however early. A pointer whose symbol this libc lacks fails with ENOSYS. */" > file
    print "struct real {" > file
    for (i = 1; i <= row_count; i++)
        if (row_args[i] != "VARIADIC")
            print "    " row_ret[i] " (*" row_name[i] ")" row_params[i] ";" > file
    print "};" > file
    print "extern struct real real __attribute__((visibility(\"hidden\")));\n" > file
    print "/* Binds the whole table. Idempotent, from any thread; takes no lock, allocates nothing, calls no" > file
    print " * interposed function, is async-signal-safe and never switches green threads. */" > file
    print "void real_bind(void);\n" > file
    print "/* The address that a reference from outside libgreen to NAME would have had without it, or NULL." > file
    print " * VERSION is NULL for the default one. As safe as real_bind(), but the list of loaded objects" > file
    print " * must not change meanwhile: call it at start-up. */" > file
    print "void *real_lookup(const char *name, const char *version);" > file
    close(file)
}

function write_green_h(    i, file) {
    file = dir "/green.h"
    print "/* Made from patch-tables: the functions that stand behind libgreen's exported symbols. The linker" > file
    print " * gives each its libc name and its twins' names, which take over its visibility; the names" > file
    print " * green_* themselves stay inside libgreen. */" > file
    print "#pragma once" > file
    print "#include \"patch-tables/headers.h\"\n" > file
    print "#pragma GCC visibility push(default)" > file
    for (i = 1; i <= row_count; i++)
        print row_ret[i] " green_" row_name[i] row_params[i] ";" > file
    print "#pragma GCC visibility pop" > file
    close(file)
}

function write_patch_id_h(    i, file) {
    file = dir "/patch_id.h"
    print "/* Made from patch-tables: a number for each symbol and each group. */" > file
    print "#pragma once\n" > file
    print "enum patch_id {" > file
    for (i = 1; i <= row_count; i++)
        print "    PATCH_" row_name[i] "," > file
    print "    PATCH_COUNT\n};\n" > file
    print "enum patch_group_id {" > file
    for (i = 1; i <= group_count; i++)
        print "    GROUP_" group_name[i] "," > file
    print "    GROUP_COUNT\n};\n" > file
    print "/* Indexed by enum patch_id: the symbol's name, and its enum patch_group_id. */" > file
    print "extern const char *const patch_name[PATCH_COUNT];" > file
    print "extern const unsigned char patch_group[PATCH_COUNT];" > file
    print "/* Indexed by enum patch_group_id. */" > file
    print "extern const char *const patch_group_name[GROUP_COUNT];\n" > file
    print "/* The other names of entries. */" > file
    print "#define PATCH_TWIN_COUNT " twin_count + 0 > file
    print "extern const struct patch_twin {" > file
    print "    const char *name;" > file
    print "    enum patch_id of;" > file
    print "} patch_twin[PATCH_TWIN_COUNT];" > file
    close(file)

    file = dir "/patch_names.c"
    print "/* Made from patch-tables. */\n#include \"gen/patch_id.h\"\n" > file
    print "const char *const patch_name[PATCH_COUNT] = {" > file
    for (i = 1; i <= row_count; i++)
        print "    \"" row_name[i] "\"," > file
    print "};\n\nconst unsigned char patch_group[PATCH_COUNT] = {" > file
    for (i = 1; i <= row_count; i++)
        print "    GROUP_" row_group[i] "," > file
    print "};\n\nconst char *const patch_group_name[GROUP_COUNT] = {" > file
    for (i = 1; i <= group_count; i++)
        print "    \"" group_name[i] "\"," > file
    print "};\n\nconst struct patch_twin patch_twin[PATCH_TWIN_COUNT] = {" > file
    for (i = 1; i <= twin_count; i++)
        print "    {\"" twin_name[i] "\", PATCH_" twin_of[i] "}," > file
    print "};" > file
    close(file)
}

# For the tools: every exported name with its group, what it does, its twin and the reason.
function write_patch_list(    i, file) {
    file = dir "/patch_list.h"
    print "/* Made from patch-tables: what eventlet-run --list-patches and --check know. */" > file
    print "#pragma once\n" > file
    print "struct patch_list_row {" > file
    print "    const char *name;   /* the exported symbol */" > file
    print "    const char *group;  /* its patch group */" > file
    print "    const char *kind;   /* waits, books or passes */" > file
    print "    const char *twin;   /* the symbol whose entry it shares, or \"\" */" > file
    print "    const char *why;    /* one line */" > file
    print "};\n" > file
    print "#define PATCH_LIST_COUNT " row_count + twin_count > file
    print "extern const struct patch_list_row patch_list[PATCH_LIST_COUNT];" > file
    close(file)

    file = dir "/patch_list.c"
    print "/* Made from patch-tables. */\n#include \"gen/patch_list.h\"\n" > file
    print "const struct patch_list_row patch_list[PATCH_LIST_COUNT] = {" > file
    for (i = 1; i <= row_count; i++) {
        kind = row_kind[i] == "FORTIFIED" ? kind_of[row_target[i]] : row_kind[i]
        print "    {\"" row_name[i] "\", \"" row_group[i] "\", \"" tolower(kind) "\", \"\",\n     " \
            row_why[i] "}," > file
    }
    for (i = 1; i <= twin_count; i++)
        print "    {\"" twin_name[i] "\", \"" twin_group[i] "\", \"" tolower(kind_of[twin_of[i]]) \
            "\", \"" twin_of[i] "\",\n     " twin_why[i] "}," > file
    print "};" > file
    close(file)
}

function write_real_table(    i, file, slots) {
    file = dir "/real_table.c"
    print "/* Made from patch-tables: what the table of real functions holds before it is bound. */" > file
    print "#include <errno.h>\n#include <threads.h>\n" > file
    print "#include \"gen/real.h\"\n#include \"preload/real_table.h\"\n" > file
    print "/* Most of these ignore their arguments. */" > file
    print "#pragma GCC diagnostic ignored \"-Wunused-parameter\"\n" > file
    for (i = 1; i <= row_count; i++) {
        if (row_args[i] == "VARIADIC")
            continue
        slots++
        print "static " row_ret[i] " first_" row_name[i] row_params[i] "\n{" > file
        print "    real_bind();" > file
        print "    " call_of(row_ret[i], "real." row_name[i], row_args[i]) "\n}\n" > file
        print "static " row_ret[i] " missing_" row_name[i] row_params[i] "\n{" > file
        print "    " missing_body(row_ret[i], row_name[i]) "\n}\n" > file
    }
    print "struct real real = {" > file
    for (i = 1; i <= row_count; i++)
        if (row_args[i] != "VARIADIC")
            print "    ." row_name[i] " = first_" row_name[i] "," > file
    print "};\n" > file
    print "const struct real missing = {" > file
    for (i = 1; i <= row_count; i++)
        if (row_args[i] != "VARIADIC")
            print "    ." row_name[i] " = missing_" row_name[i] "," > file
    print "};\n" > file
    print "const struct real_slot real_slots[] = {" > file
    for (i = 1; i <= row_count; i++)
        if (row_args[i] != "VARIADIC") {
            version = row_version[i]
            if (version != "DEFAULT") {
                sub(/^GLIBC_/, "", version)
                gsub(/_/, ".", version)
                version = "\"GLIBC_" version "\""
            } else {
                version = "NULL"
            }
            print "    {\"" row_name[i] "\", " version "}," > file
        }
    print "};\n" > file
    print "const size_t real_slot_count = sizeof real_slots / sizeof *real_slots;" > file
    print "_Static_assert(sizeof(struct real) == sizeof real_slots / sizeof *real_slots * sizeof(void *)," > file
    print "               \"one pointer per slot, in the order of the slots\");" > file
    close(file)
}

function write_bodies(    i, file, pass) {
    file = dir "/bodies.c"
    print "/* Made from patch-tables: the wrappers that need no thought of their own. PASSES rows are here to" > file
    print " * be counted and to let a green thread that was left behind rejoin. FORTIFIED rows check the" > file
    print " * bound, let libc report a violation as it does natively, and are else the plain function." > file
    print " * STREAM rows hold the stream's lock round libc's function. */" > file
    print "#include \"gen/green.h\"\n#include \"preload/patch.h\"\n#include \"preload/stream.h\"\n" > file
    for (i = 1; i <= row_count; i++) {
        if (i in row_stream) {
            print row_ret[i] " green_" row_name[i] row_params[i] "\n{" > file
            print "    STREAM_LOCKED(" row_name[i] ", " row_stream[i] ");" > file
            print "    " call_of(row_ret[i], "real." row_name[i], row_args[i]) "\n}\n" > file
        } else if (row_kind[i] == "PASSES") {
            print row_ret[i] " green_" row_name[i] row_params[i] "\n{" > file
            print "    (void)patch_passes(PATCH_" row_name[i] ");" > file
            print "    " call_of(row_ret[i], "real." row_name[i], row_args[i]) "\n}\n" > file
        } else if (row_kind[i] == "FORTIFIED") {
            print row_ret[i] " green_" row_name[i] row_params[i] "\n{" > file
            print "    if (__builtin_expect(!(" row_bound[i] "), 0))" > file
            print "        " call_of(row_ret[i], "real." row_name[i], row_args[i]) > file
            print "    " call_of(row_ret[i], "green_" row_target[i], row_target_args[i]) "\n}\n" > file
        }
    }
    close(file)
}

# The prototype in the row against the one in libc's headers.
function write_prototypes(    i, file, ret) {
    file = dir "/prototypes.c"
    print "/* Made from patch-tables: does every row have the prototype of libc's own headers? */" > file
    print "#include \"gen/real.h\"\n" > file
    print "#define SAME(name, type) \\\n    _Static_assert(__builtin_types_compatible_p(__typeof__(&name), type), \\" > file
    print "                   \"the row of \" #name \" differs from libc's header\")\n" > file
    for (i = 1; i <= row_count; i++) {
        if (row_name[i] in unchecked)
            print "/* " row_name[i] ": " unchecked[row_name[i]] " */" > file
        else if (row_args[i] == "VARIADIC")
            print row_ret[i] " row_" row_name[i] row_params[i] ";\nSAME(" row_name[i] \
                ", __typeof__(&row_" row_name[i] "));" > file
        else
            print "SAME(" row_name[i] ", __typeof__(((struct real *)0)->" row_name[i] "));" > file
    }
    close(file)
}

function write_exports(    i, file) {
    file = dir "/exports.map"
    print "# Made from patch-tables. The node is anonymous: a named one would switch interposition off." > file
    print "{\nglobal:" > file
    for (i = 1; i <= row_count; i++)
        print "    " row_name[i] ";" > file
    for (i = 1; i <= twin_count; i++)
        print "    " twin_name[i] ";" > file
    print "local:\n    *;\n};" > file
    close(file)

    file = dir "/exports.list"
    for (i = 1; i <= row_count; i++)
        print row_name[i], row_name[i], row_group[i], row_kind[i] > file
    for (i = 1; i <= twin_count; i++)
        print twin_name[i], twin_of[i], twin_group[i], "TWIN" > file
    close(file)

    file = dir "/rows.tsv"
    for (i = 1; i <= row_count; i++)
        if (row_args[i] != "VARIADIC")
            print row_name[i] "\t" row_ret[i] "\t" row_params[i] "\t" row_args[i] > file
    close(file)
}

END {
    if (failed)
        exit 1
    if (record != "")
        fail("the file ends inside a row: " record)
    for (i = 1; i <= row_count; i++)
        kind_of[row_name[i]] = row_kind[i]
    for (i = 1; i <= twin_count; i++)
        if (!(twin_of[i] in kind_of))
            fail(twin_name[i] " is a twin of " twin_of[i] ", which has no row")
    for (i = 1; i <= row_count; i++)
        if (row_kind[i] == "FORTIFIED" && !(row_target[i] in kind_of))
            fail(row_name[i] " checks for " row_target[i] ", which has no row")
    for (i = 1; i <= row_count; i++)
        if (row_kind[i] == "FORTIFIED")
            kind_of[row_name[i]] = kind_of[row_target[i]]
    for (name in unchecked)
        if (!(name in kind_of))
            fail(name " is UNCHECKED but has no row")
    write_real_h()
    write_green_h()
    write_patch_id_h()
    write_patch_list()
    write_real_table()
    write_bodies()
    write_prototypes()
    write_exports()
}
