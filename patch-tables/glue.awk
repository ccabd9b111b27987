# How a static archive's calls to libc are redirected, so that none of them reaches a symbol that
# libgreen exports.
#
#   awk -v c=glue_NAME.c -v syms=NAME.redefine -v prefix=NAME -f glue.awk rows.tsv NAME.syms NAME.undefined
#
# rows.tsv is generated from the tables; NAME.syms lists redirections made by hand; NAME.undefined is
# what the archive refers to, one symbol a line. What has a row and no redirection of its own calls
# real.SYMBOL, through a function in the C file. The other file is for objcopy --redefine-syms.

FNR == 1 { part++ }
part == 1 {
    split($0, row, "\t")
    ret[row[1]] = row[2]
    params[row[1]] = row[3]
    args[row[1]] = row[4]
    next
}
/^#/ || NF == 0 { next }
part == 2 { own[$1] = $2; next }
part == 3 && !($1 in seen) {
    seen[$1] = 1
    if ($1 in own) {
        lines = lines $1 " " own[$1] "\n"
    } else if ($1 in ret) {
        name = prefix "_" $1
        lines = lines $1 " " name "\n"
        call = "real." $1 args[$1] ";"
        if (ret[$1] !~ /void$/)
            call = "return " call
        code = code ret[$1] " " name params[$1] ";\n" \
            ret[$1] " " name params[$1] "\n{\n    " call "\n}\n\n"
    }
}

END {
    printf "%s", lines > syms
    print "/* Made from patch-tables: calls of an archive that go on to libc's own functions. */" > c
    print "#include \"gen/real.h\"\n" > c
    printf "%s", code > c
}
