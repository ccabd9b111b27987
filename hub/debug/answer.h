/* What greenctl can ask: the commands of the control socket. */
#ifndef DEBUG_ANSWER_H
#define DEBUG_ANSWER_H

struct green;

/* A question, and what is to be done about it once it has been answered. */
struct answer {
    int fd;           /* where the answer is written */
    const char *line; /* the command and its arguments */
    void (*act)(struct answer *a); /* on the control thread, outside the reporter; NULL: nothing */
    struct green *green;           /* for act */
    unsigned long tp;
};

/* Answer; arg is a struct answer. In a reporter (report.h). */
void answer_report(void *arg);

#endif
