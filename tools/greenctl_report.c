/* greenctl report: a trace as one page of HTML that needs nothing else. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "greenctl.h"

enum { SLICES_SHOWN = 60000, LONGEST = 30, LOCKS_SHOWN = 30, NAME = 64 };

struct slice {
    uint64_t thread;
    double start, length; /* us */
    uint32_t what;        /* of report_names */
    char kind;            /* r run, q runnable, w wait */
};

struct thread {
    uint64_t id;
    double ran, runnable, waited;
    uint64_t slices;
    char name[20];
};

struct name {
    char text[NAME];
    double total;
    uint64_t count;
};

/* Growing arrays of one run of the program. */
static struct slice *slices;
static size_t slice_count, slice_room;
static struct thread *threads;
static size_t thread_count, thread_room;
static struct name *names;
static size_t name_count, name_room;

static void *report_grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 256;
    array = realloc(array, *room * size);
    if (!array)
        greenctl_no(1, "free some memory, or cut the trace", "out of memory");
    return array;
}

/* ---- Reading ----------------------------------------------------------------------------------- */

/* What stands behind "key": in a line of ours; NULL when it is not there. */
static const char *report_value(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    return at ? at + strlen(key) : NULL;
}

static double report_number(const char *line, const char *key)
{
    const char *at = report_value(line, key);
    return at ? strtod(at, NULL) : 0;
}

static void report_text(const char *line, const char *key, char *to, size_t room)
{
    const char *at = report_value(line, key);
    size_t n = 0;
    while (at && *at && *at != '"' && n + 1 < room) {
        if (*at == '\\' && at[1])
            at++;
        to[n++] = *at++;
    }
    to[n] = 0;
}

/* Ids are found from the end: a trace goes on with those it had last. */
static struct thread *report_thread(uint64_t id)
{
    static size_t *index; /* by id, +1; ids are small numbers */
    static size_t index_room;
    if (id > 100000000)
        id = 0;
    if (id >= index_room) {
        size_t room = index_room ? index_room : 1024;
        while (room <= id)
            room *= 2;
        index = realloc(index, room * sizeof *index);
        if (!index)
            greenctl_no(1, "free some memory, or cut the trace", "out of memory");
        memset(index + index_room, 0, (room - index_room) * sizeof *index);
        index_room = room;
    }
    if (!index[id]) {
        threads = report_grow(threads, thread_count, &thread_room, sizeof *threads);
        threads[thread_count] = (struct thread){.id = id};
        index[id] = ++thread_count;
    }
    return &threads[index[id] - 1];
}

static uint32_t report_name(const char *text)
{
    enum { BUCKETS = 4096 };
    static uint32_t *bucket; /* open addressing, +1 */
    static size_t room;
    if (name_count * 2 >= room) {
        free(bucket);
        room = room ? room * 4 : BUCKETS;
        bucket = calloc(room, sizeof *bucket);
        if (!bucket)
            greenctl_no(1, "free some memory, or cut the trace", "out of memory");
        for (size_t i = 0; i < name_count; i++) {
            uint64_t h = 5381;
            for (const char *c = names[i].text; *c; c++)
                h = h * 33 + (unsigned char)*c;
            while (bucket[h % room])
                h++;
            bucket[h % room] = (uint32_t)i + 1;
        }
    }
    uint64_t h = 5381;
    for (const char *c = text; *c; c++)
        h = h * 33 + (unsigned char)*c;
    for (; bucket[h % room]; h++)
        if (strcmp(names[bucket[h % room] - 1].text, text) == 0)
            return bucket[h % room] - 1;
    names = report_grow(names, name_count, &name_room, sizeof *names);
    names[name_count] = (struct name){{0}, 0, 0};
    snprintf(names[name_count].text, sizeof names[name_count].text, "%s", text);
    bucket[h % room] = (uint32_t)++name_count;
    return (uint32_t)name_count - 1;
}

static void report_slice(const char *line)
{
    char what[NAME], category[16];
    report_text(line, "{\"name\":\"", what, sizeof what);
    report_text(line, "\"cat\":\"", category, sizeof category);
    struct thread *t = report_thread((uint64_t)report_number(line, "\"tid\":"));
    slices = report_grow(slices, slice_count, &slice_room, sizeof *slices);
    struct slice *s = &slices[slice_count++];
    *s = (struct slice){.thread = t->id, .start = report_number(line, "\"ts\":"),
                        .length = report_number(line, "\"dur\":"), .what = report_name(what)};
    s->kind = strcmp(category, "run") == 0 ? 'r' : strcmp(category, "wait") == 0 ? 'w' : 'q';
    *(s->kind == 'r' ? &t->ran : s->kind == 'w' ? &t->waited : &t->runnable) += s->length;
    t->slices++;
    if (s->kind == 'w') {
        names[s->what].total += s->length;
        names[s->what].count++;
    }
}

static void report_read(const char *path)
{
    FILE *file = tmpfile();
    char *line = NULL;
    size_t room = 0;
    if (!file)
        greenctl_no(1, "is the disk full?", "cannot make a temporary file: %s", strerror(errno));
    if (!greenctl_unfinished(path, file))
        file = freopen(path, "re", file);
    else if (fflush(file) || ferror(file))
        greenctl_no(1, "is the disk full?", "cannot write a temporary file: %s", strerror(errno));
    else
        rewind(file);
    if (!file)
        greenctl_no(1, "eventlet-run --trace=FILE makes one", "%s: %s", path, strerror(errno));
    while (getline(&line, &room, file) >= 0) {
        if (strstr(line, "\"ph\":\"X\""))
            report_slice(line);
        else if (strstr(line, "\"thread_name\""))
            report_text(line, "\"args\":{\"name\":\"",
                        report_thread((uint64_t)report_number(line, "\"tid\":"))->name,
                        sizeof threads[0].name);
    }
    bool failed = ferror(file);
    free(line);
    fclose(file);
    if (failed || !slice_count)
        greenctl_no(1, "eventlet-run --trace=FILE makes one",
                    "%s: %s", path, failed ? "cannot be read" : "there is no trace in it");
}

/* ---- Writing ----------------------------------------------------------------------------------- */

static void report_json(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if (*text < ' ' || *text > '~' || *text == '<' || *text == '>' || *text == '&')
            printf("\\u%04x", (unsigned char)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static int report_by_length(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    return x->length < y->length ? 1 : x->length > y->length ? -1 : 0;
}

static int report_by_total(const void *a, const void *b)
{
    const struct name *x = *(struct name *const *)a, *y = *(struct name *const *)b;
    return x->total < y->total ? 1 : x->total > y->total ? -1 : 0;
}

static bool report_is_lock(const char *what)
{
    static const char *const kinds[] = {"mutex", "rwlock", "condition", "semaphore", "barrier",
                                        "futex", "FILE", "pthread_once"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(what, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

/* Longest first: those that would be too short to be seen are left out. */
static void report_slices(double zero)
{
    qsort(slices, slice_count, sizeof *slices, report_by_length);
    fputs("const slices=[", stdout);
    for (size_t i = 0; i < slice_count && i < SLICES_SHOWN; i++)
        printf("%s[%llu,%.3f,%.3f,\"%c\",%u]", i ? "," : "",
               (unsigned long long)slices[i].thread, slices[i].start - zero, slices[i].length,
               slices[i].kind, slices[i].what);
    printf("];\nconst left_out=%zu;\n",
           slice_count > SLICES_SHOWN ? slice_count - SLICES_SHOWN : (size_t)0);
}

static void report_data(const char *path)
{
    double zero = slices[0].start;
    for (size_t i = 0; i < slice_count; i++)
        zero = slices[i].start < zero ? slices[i].start : zero;
    fputs("<script>\n\"use strict\";\nconst file=", stdout);
    report_json(path);
    fputs(";\nconst names=[", stdout);
    for (size_t i = 0; i < name_count; i++) {
        fputs(i ? "," : "", stdout);
        report_json(names[i].text);
    }
    fputs("];\nconst threads=[", stdout);
    for (size_t i = 0; i < thread_count; i++) {
        printf("%s[%llu,", i ? ",\n" : "", (unsigned long long)threads[i].id);
        report_json(threads[i].name);
        printf(",%.3f,%.3f,%.3f]", threads[i].ran, threads[i].runnable, threads[i].waited);
    }
    fputs("];\n", stdout);
    report_slices(zero);
    struct name **sorted = calloc(name_count, sizeof *sorted);
    if (!sorted)
        greenctl_no(1, "free some memory", "out of memory");
    for (size_t i = 0; i < name_count; i++)
        sorted[i] = &names[i];
    qsort(sorted, name_count, sizeof *sorted, report_by_total);
    fputs("const locks=[", stdout);
    for (size_t i = 0, shown = 0; i < name_count && shown < LOCKS_SHOWN; i++) {
        if (!sorted[i]->count || !report_is_lock(sorted[i]->text))
            continue;
        fputs(shown++ ? "," : "", stdout);
        putchar('[');
        report_json(sorted[i]->text);
        printf(",%llu,%.3f]", (unsigned long long)sorted[i]->count, sorted[i]->total);
    }
    free(sorted);
    printf("];\nconst longest=%d;\n", LONGEST);
}

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Green threads</title>\n"
    "<style>\n"
    "body{font:14px sans-serif;margin:1em 2em;color:#222}\n"
    "table{border-collapse:collapse;margin:.5em 0}\n"
    "th,td{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}\n"
    "th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}\n"
    "#lanes{border:1px solid #aaa;cursor:grab}\n"
    "#tip{height:1.4em;font-family:monospace}\n"
    ".key{display:inline-block;width:.9em;height:.9em;margin:0 .3em 0 1em}\n"
    "</style></head><body>\n"
    "<h1>Green threads</h1><p id=\"about\"></p>\n"
    "<h2>Timeline</h2>\n"
    "<p>Wheel: zoom. Drag: move.<span class=\"key\" style=\"background:#2a2\"></span>runs"
    "<span class=\"key\" style=\"background:#e90\"></span>runnable"
    "<span class=\"key\" style=\"background:#9bd\"></span>waits</p>\n"
    "<div style=\"max-height:60vh;overflow-y:auto\"><canvas id=\"lanes\"></canvas></div>\n"
    "<div id=\"tip\"></div>\n"
    "<h2>Time per thread</h2><table id=\"times\"></table>\n"
    "<h2>Longest waits</h2><table id=\"waits\"></table>\n"
    "<h2>Most contended locks</h2><table id=\"locks\"></table>\n";

static const char page_script[] =
    "const colour={r:'#2a2',q:'#e90',w:'#9bd'};\n"
    "const lane=new Map();threads.sort((a,b)=>a[0]-b[0]);\n"
    "const shown=threads.slice(0,1500);shown.forEach((t,i)=>lane.set(t[0],i));\n"
    "const title=t=>t[0]+(t[1]?' '+t[1]:'');\n"
    "const byId=new Map(threads.map(t=>[t[0],t]));\n"
    "const span=slices.reduce((m,s)=>Math.max(m,s[1]+s[2]),1);\n"
    "const height=16,margin=150;\n"
    "const canvas=document.getElementById('lanes'),ctx=canvas.getContext('2d');\n"
    "let from=0,to=span;\n"
    "function draw(){\n"
    " const w=canvas.width=Math.max(600,window.innerWidth-80);\n"
    " canvas.height=shown.length*height+4;\n"
    " ctx.font='11px sans-serif';ctx.textBaseline='middle';\n"
    " const scale=(w-margin)/(to-from);\n"
    " for(const s of slices){\n"
    "  const i=lane.get(s[0]);if(i===undefined||s[1]>to||s[1]+s[2]<from)continue;\n"
    "  const x=margin+Math.max(0,(s[1]-from)*scale);\n"
    "  const end=margin+Math.min(w-margin,(s[1]+s[2]-from)*scale);\n"
    "  ctx.fillStyle=colour[s[3]];ctx.fillRect(x,i*height+2,Math.max(1,end-x),height-4);\n"
    " }\n"
    " ctx.fillStyle='#fff';ctx.fillRect(0,0,margin-4,canvas.height);ctx.fillStyle='#222';\n"
    " shown.forEach((t,i)=>ctx.fillText(title(t),4,i*height+height/2));\n"
    "}\n"
    "function at(e){return from+(e.offsetX-margin)/(canvas.width-margin)*(to-from);}\n"
    "canvas.addEventListener('wheel',e=>{e.preventDefault();const t=at(e),k=e.deltaY>0?1.25:.8;\n"
    " from=Math.max(0,t-(t-from)*k);to=Math.min(span,Math.max(from+.01,t+(to-t)*k));draw();});\n"
    "let held=null;\n"
    "canvas.addEventListener('mousedown',e=>held=at(e));\n"
    "window.addEventListener('mouseup',()=>held=null);\n"
    "canvas.addEventListener('mousemove',e=>{const t=at(e);\n"
    " if(held!==null){const d=Math.min(span-to,Math.max(-from,held-t));from+=d;to+=d;draw();return;}\n"
    " const th=shown[Math.floor(e.offsetY/height)];if(!th)return;\n"
    " const s=slices.filter(s=>s[0]===th[0]&&s[1]<=t&&t<=s[1]+s[2]).pop();\n"
    " document.getElementById('tip').textContent=title(th)+(s?': '+names[s[4]]+', '+\n"
    "  (s[2]/1000).toFixed(3)+' ms from '+(s[1]/1000).toFixed(3)+' ms':'');});\n"
    "function table(id,head,rows){const t=document.getElementById(id);\n"
    " const add=(cells,tag)=>{const tr=t.insertRow();for(const c of cells){\n"
    "  const td=document.createElement(tag);td.textContent=c;tr.appendChild(td);}};\n"
    " add(head,'th');rows.forEach(r=>add(r,'td'));}\n"
    "const ms=us=>(us/1000).toFixed(3);\n"
    "table('times',['thread','name','running ms','runnable ms','waiting ms'],\n"
    " [...threads].sort((a,b)=>b[2]-a[2]).slice(0,200).map(t=>[t[0],t[1],ms(t[2]),ms(t[3]),ms(t[4])]));\n"
    "table('waits',['thread','waits for','ms','from ms'],slices.filter(s=>s[3]==='w')\n"
    " .sort((a,b)=>b[2]-a[2]).slice(0,longest)\n"
    " .map(s=>[title(byId.get(s[0])),names[s[4]],ms(s[2]),ms(s[1])]));\n"
    "table('locks',['lock','','waits','ms in all'],locks.map(l=>[l[0],'',l[1],ms(l[2])]));\n"
    "document.getElementById('about').textContent=file+': '+threads.length+' threads, '+\n"
    " (span/1e6).toFixed(3)+' s'+(left_out?'; '+left_out+' of the shortest slices are not drawn':'')+\n"
    " (shown.length<threads.length?'; the first '+shown.length+' threads are drawn':'');\n"
    "window.addEventListener('resize',draw);draw();\n"
    "document.body.dataset.lanes=shown.length;\n";

int greenctl_report(const char *file)
{
    report_read(file);
    fputs(page_head, stdout);
    report_data(file);
    fputs(page_script, stdout);
    fputs("</script></body></html>\n", stdout);
    if (fflush(stdout) || ferror(stdout))
        greenctl_no(1, "is the disk full?", "cannot write: %s", strerror(errno));
    return 0;
}
