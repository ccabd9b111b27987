/* wordexp: it runs a shell inside libc, and other threads go on meanwhile. */
#include <wordexp.h>

#include "kit/expect.h"
#include "kit/threads.h"

static void expands(void)
{
    wordexp_t words;
    setenv("WORDS_HERE", "two words", 1);
    EQUALS(wordexp("a $WORDS_HERE $(echo from a shell)", &words, 0), 0, "wordexp");
    EQUALS(words.we_wordc, 6, "as many words");
    BYTES(words.we_wordv[5], "shell", 6, "the last one");
    wordfree(&words);
    EQUALS(wordexp("$(echo no)", &words, WRDE_NOCMD), WRDE_CMDSUB, "no commands");
    EQUALS(wordexp("(", &words, 0), WRDE_BADCHAR, "not a word");
}

static void others_go_on(void)
{
    wordexp_t words;
    unsigned long before = ticker_now();
    EQUALS(wordexp("$(sleep 0.3; echo done)", &words, 0), 0, "wordexp");
    HOLDS(ticker_now() - before >= 5, "others ran while the shell did");
    wordfree(&words);
    EXPECT_ERRNO(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static const struct check checks[] = {CHECK(expands), CHECK(others_go_on)};

TICKING_MAIN(checks)
