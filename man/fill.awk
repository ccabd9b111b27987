# Fills the lists of options and of patched functions into a manual page:
#
#   eventlet-run --list-options | awk -v exports=build/gen/exports.list -f man/fill.awk - PAGE
#
# A line `.\" @library@`, `.\" @own@`, `.\" @variables@` or `.\" @symbols@` in the page is replaced; a
# page without one comes out as it is.

BEGIN { FS = "\t" }

# Print a text for troff: each sentence on lines of its own, none longer than 79 bytes.
function print_text(text,    word, n, i, line) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    n = split(text, word, " ")
    line = ""
    for (i = 1; i <= n; i++) {
        if (line != "" && (line ~ /\.$/ || length(line) + 1 + length(word[i]) > 79)) {
            print line
            line = word[i]
        } else {
            line = line == "" ? word[i] : line " " word[i]
        }
    }
    if (line != "")
        print line
}

function list_options(library,    i) {
    print ".Bl -tag -width Ds"
    for (i = 1; i <= count; i++) {
        if ((variable[i] != "") != library)
            continue
        printf ".It Fl -%s", name[i]
        if (value[i] != "")
            printf optional[i] ? " Ns Op = Ns Ar %s" : " Ns = Ns Ar %s", value[i]
        print ""
        print_text(help[i])
        if (initial[i] != "" && !optional[i])
            print "The default is\n.Cm " initial[i] " ."
    }
    print ".El"
}

# "a|b|c" as mdoc's "a , b , c"
function spaced(text) {
    gsub(/\|/, " , ", text)
    return text
}

function list_variables(    i) {
    print ".Bl -tag -width GREEN_OFFLOAD_THREADS -compact"
    for (i = 1; i <= count; i++)
        if (variable[i] != "") {
            print ".It Ev " variable[i]
            print "as\n.Fl -" name[i] (words[i] != "" ? " ;\none of\n.Cm " spaced(words[i]) : "")
        }
    print ".El"
}

# The functions of each group, those that may wait first. A checked or second name is its row's.
function list_symbols(    line, field, kind, kinds, group, groups, names, said, lead, name, n, i, k, j) {
    while ((getline line < exports) > 0) {
        split(line, field, " ")
        if (field[3] == "loader")
            continue
        if (!(field[3] in said)) {
            said[field[3]] = 1
            group[++groups] = field[3]
        }
        k = field[4] == "TWIN" || field[4] == "FORTIFIED" ? "other" : field[4]
        names[field[3], k] = names[field[3], k] " " field[1]
    }
    close(exports)
    kinds = split("WAITS BOOKS PASSES other", kind, " ")
    said["WAITS"] = "May wait:"
    said["BOOKS"] = "Kept account of:"
    said["PASSES"] = "Counted, and passed on to libc:"
    said["other"] = "Other names of these:"
    print ".Bl -tag -width Ds"
    for (i = 1; i <= groups; i++) {
        print ".It Cm " group[i]
        lead = ""
        for (k = 1; k <= kinds; k++) {
            n = split(names[group[i], kind[k]], name, " ")
            if (n == 0)
                continue
            print lead said[kind[k]]
            lead = ".br\n"
            for (j = 1; j <= n; j++)
                print name[j] (j < n ? "," : ".")
        }
    }
    print ".El"
}

FNR == NR {
    count++
    name[count] = $1
    optional[count] = substr($2, 1, 1) == "?"
    value[count] = substr($2, 2)
    words[count] = $3
    initial[count] = $4
    variable[count] = $5
    help[count] = $6
    next
}

$0 == ".\\\" @library@" { list_options(1); next }
$0 == ".\\\" @own@" { list_options(0); next }
$0 == ".\\\" @variables@" { list_variables(); next }
$0 == ".\\\" @symbols@" { list_symbols(); next }
{ print }
