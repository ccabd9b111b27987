/* --doctor: what this machine offers. */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

/* Print a line for each thing that libgreen uses where it can: what it is called, yes or no, and
 * what that means. Tries each out in this process; changes nothing outside it. */
void doctor_print(void);

#endif
