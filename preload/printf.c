/* printf, scanf and their kin: the arguments as a va_list, then the v form's wrapper. */
#include <stdarg.h>
#include <stdio.h>
#include <wchar.h>

#include "preload/stream.h"

/* `last` is the parameter before the dots; `call` may use ap. */
#define WITH_ARGUMENTS(last, call) \
    do {                           \
        va_list ap;                \
        va_start(ap, last);        \
        int result_ = (call);      \
        va_end(ap);                \
        return result_;            \
    } while (0)

int green_fprintf(FILE *f, const char *format, ...)
{
    WITH_ARGUMENTS(format, green_vfprintf(f, format, ap));
}

int green_printf(const char *format, ...)
{
    WITH_ARGUMENTS(format, green_vprintf(format, ap));
}

int green___fprintf_chk(FILE *f, int flag, const char *format, ...)
{
    WITH_ARGUMENTS(format, green___vfprintf_chk(f, flag, format, ap));
}

int green___printf_chk(int flag, const char *format, ...)
{
    WITH_ARGUMENTS(format, green___vprintf_chk(flag, format, ap));
}

int green_fscanf(FILE *f, const char *format, ...)
{
    WITH_ARGUMENTS(format, green_vfscanf(f, format, ap));
}

int green_scanf(const char *format, ...)
{
    WITH_ARGUMENTS(format, green_vscanf(format, ap));
}

int green___isoc99_fscanf(FILE *f, const char *format, ...)
{
    WITH_ARGUMENTS(format, green___isoc99_vfscanf(f, format, ap));
}

int green___isoc99_scanf(const char *format, ...)
{
    WITH_ARGUMENTS(format, green___isoc99_vscanf(format, ap));
}

int green_fwprintf(FILE *f, const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green_vfwprintf(f, format, ap));
}

int green_wprintf(const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green_vwprintf(format, ap));
}

int green___fwprintf_chk(FILE *f, int flag, const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green___vfwprintf_chk(f, flag, format, ap));
}

int green___wprintf_chk(int flag, const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green___vwprintf_chk(flag, format, ap));
}

int green_fwscanf(FILE *f, const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green_vfwscanf(f, format, ap));
}

int green_wscanf(const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green_vwscanf(format, ap));
}

int green___isoc99_fwscanf(FILE *f, const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green___isoc99_vfwscanf(f, format, ap));
}

int green___isoc99_wscanf(const wchar_t *format, ...)
{
    WITH_ARGUMENTS(format, green___isoc99_vwscanf(format, ap));
}

/* ---- err.h ---- */

#define WITH_ARGUMENTS_VOID(call) \
    do {                          \
        va_list ap;               \
        va_start(ap, format);     \
        call;                     \
        va_end(ap);               \
    } while (0)

void green_warn(const char *format, ...)
{
    WITH_ARGUMENTS_VOID(green_vwarn(format, ap));
}

void green_warnx(const char *format, ...)
{
    WITH_ARGUMENTS_VOID(green_vwarnx(format, ap));
}

void green_err(int status, const char *format, ...)
{
    WITH_ARGUMENTS_VOID(green_verr(status, format, ap));
}

void green_errx(int status, const char *format, ...)
{
    WITH_ARGUMENTS_VOID(green_verrx(status, format, ap));
}
