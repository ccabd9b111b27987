# Fills the lists of options into a manual page:
#
#   eventlet-run --list-options | awk -f man/fill.awk - PAGE
#
# A line `.\" @library@`, `.\" @own@` or `.\" @variables@` in the page is replaced; a page without one
# comes out as it is.

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
{ print }
